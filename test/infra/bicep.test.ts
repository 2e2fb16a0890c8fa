import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readBicep, ROOT } from './bicep.ts'

const main = readBicep('infra/main.bicep')
const modules = readdirSync(join(ROOT, 'infra/modules')).map((name) => readBicep(`infra/modules/${name}`))
const all = [main, ...modules]

test('every parameter is used', () => {
  const unused = all.flatMap(({ path, text, parameters }) =>
    parameters
      .filter(({ name }) => text.replace(/@description\(.*/g, '').match(new RegExp(`\\b${name}\\b(?!:)`, 'g'))!.length < 2)
      .map(({ name }) => `${path} ${name}`),
  )
  expect(unused).toEqual([])
  expect(main.parameters.length).toBeGreaterThan(20)
})

test('every module exists, is used, and is given what it declares and nothing else', () => {
  expect(main.modules.map(({ path }) => `infra/${path}`).toSorted()).toEqual(modules.map(({ path }) => path).toSorted())
  for (const { name, path, parameters } of main.modules) {
    const declared = modules.find((module) => module.path === `infra/${path}`)!.parameters
    expect(declared.map((parameter) => parameter.name), `parameters of ${name}`).toEqual(expect.arrayContaining(parameters))
    expect(parameters, `parameters of ${name}`).toEqual(
      expect.arrayContaining(declared.filter(({ required }) => required).map((parameter) => parameter.name)),
    )
  }
})

test('passwords are secure parameters, and no output carries a secret', () => {
  for (const { path, parameters, outputs, text } of all) {
    const passwords = parameters.filter(({ name }) => /password|secret/i.test(name))
    expect(passwords.filter(({ secure }) => !secure), `in ${path}`).toEqual([])
    for (const { name, value } of outputs) {
      expect(`${name} ${value}`, `in ${path}`).not.toMatch(/password|secret|listKeys|listSas|accountKey|sharedKey/i)
    }
    expect(text, `in ${path}`).not.toMatch(/\b(?:listKeys|listAccountSas|AccountKey=)/)
  }
  expect(main.parameters.find(({ name }) => name === 'administratorPassword')?.secure).toBe(true)
})

test('nothing is reached by a shared key, in clear text, or with an old TLS', () => {
  const text = all.map((file) => file.text).join('\n')
  for (const setting of [
    'allowSharedKeyAccess: false',
    'allowBlobPublicAccess: false',
    'supportsHttpsTrafficOnly: true',
    'httpsOnly: true',
    "minTlsVersion: '1.2'",
    'enableRbacAuthorization: true',
    'DisableLocalAuth: true',
  ]) {
    expect(text).toContain(setting)
  }
})

test('the settings of the function app are those that the functions read', () => {
  const app = readFileSync(join(ROOT, 'infra/modules/function-app.bicep'), 'utf8')
  const environment = readFileSync(join(ROOT, 'functions/environment.ts'), 'utf8')
  const settings = [...app.matchAll(/name: '(PGFLEX_\w+)'/g)].map((match) => match[1]!)
  expect(settings).toEqual(expect.arrayContaining(['PGFLEX_DOCUMENTS_URL', 'PGFLEX_KEY_VAULT_URL']))
  expect(settings.filter((name) => !environment.includes(`'${name}'`))).toEqual([])
})

test('the example gives values to parameters that exist, and to all that need one', () => {
  const example = readFileSync(join(ROOT, 'infra/main.bicepparam'), 'utf8')
  const given = [...example.matchAll(/^param (\w+) =/gm)].map((match) => match[1]!)
  const required = main.parameters.filter((parameter) => parameter.required).map(({ name }) => name)
  expect(main.parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(given))
  expect(given).toEqual(expect.arrayContaining(required))
  expect(required).toContain('environmentName')
  expect(example).not.toMatch(/^param \w*[pP]assword = '/m)
})

test('azd finds the templates and the service, and builds the package here', () => {
  const azd = readFileSync(join(ROOT, 'azure.yaml'), 'utf8')
  expect(azd).not.toContain('\t')
  expect(azd).toMatch(/^ {2}path: infra$/m)
  expect(azd).toMatch(/^ {2}module: main$/m)
  expect(azd).toMatch(/^ {4}host: function$/m)
  const service = /^services:\n {2}(\w+):$/m.exec(azd)?.[1]
  expect(main.text).toContain(`'azd-service-name': '${service}'`)
  // azd refuses remoteBuild: false together with an ignore file that lists node_modules.
  expect(azd).toMatch(/^ {4}remoteBuild: false$/m)
  const ignored = readFileSync(join(ROOT, '.funcignore'), 'utf8').split(/\r?\n/)
  expect(ignored.filter((line) => /^\/?node_modules\/?$/.test(line))).toEqual([])
  // Without the slash, a folder of that name would be left out of every package in node_modules, too.
  expect(ignored.filter((line) => line !== '' && !/^[/#*]/.test(line))).toEqual([])
  for (const needed of ['/dist', '/host.json', '/package.json', '/node_modules', '/dist/functions', '/dist/migration']) {
    expect(ignored).not.toContain(needed)
  }
  expect(existsSync(join(ROOT, 'infra/main.bicep'))).toBe(true)
})
