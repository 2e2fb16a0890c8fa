import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { arrows, environment, inside, length, names, purity, type SourceFile } from './architecture/rules.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.pgflex', '.azure', '.vscode', 'package-lock.json'])
const TEXT = /\.(ts|mjs|md|json|ya?ml|bicep|bicepparam|html|css|sql)$|^LICENSE$|^\.\w+$/

/** Every text file of the repository. */
const files: SourceFile[] = readdirSync(ROOT, { withFileTypes: true })
  .filter(({ name }) => !SKIPPED.has(name))
  .flatMap((entry) =>
    entry.isDirectory()
      ? readdirSync(join(ROOT, entry.name), { withFileTypes: true, recursive: true })
          .filter((inner) => inner.isFile())
          .map((inner) => join(inner.parentPath, inner.name))
      : [join(ROOT, entry.name)],
  )
  .filter((path) => TEXT.test(path.split(sep).at(-1)!))
  .map((path) => ({ path: relative(ROOT, path).split(sep).join('/'), text: readFileSync(path, 'utf8') }))

const sources = files.filter(({ path }) => path.endsWith('.ts'))

test('the whole house is read', () => {
  expect(sources.map(({ path }) => path.split('/')[0])).toEqual(
    expect.arrayContaining(['azure', 'functions', 'host', 'migration', 'orchestrations', 'test']),
  )
})

test('imports follow the arrows between the folders', () => {
  expect(sources.flatMap(arrows)).toEqual([])
})

test('the environment is read in one file of the functions', () => {
  expect(sources.flatMap(environment)).toEqual([])
})

test('orchestrations are deterministic', () => {
  expect(sources.flatMap(purity)).toEqual([])
})

test('no file is longer than 300 lines', () => {
  expect(sources.flatMap(length)).toEqual([])
})

test('files are named after the thing they own', () => {
  expect(sources.flatMap(names)).toEqual([])
})

test('nothing leads out of the repository', () => {
  expect(files.flatMap(inside)).toEqual([])
})

describe('the rules find what they forbid', () => {
  const sample = (path: string, text: string): SourceFile => ({ path, text })

  test.for([
    ['migration/a.ts', `import { app } from '@azure/functions'`, 'migration/ must not import @azure/functions'],
    ['migration/a.ts', `import type { X } from '../azure/x.ts'`, 'migration/ must not import azure/x.ts'],
    ['migration/load/a.ts', `export * from '${'..'}/../functions/x.ts'`, 'migration/ must not import functions/x.ts'],
    [
      'migration/a.ts',
      `import { SecretClient } from '@azure/keyvault-secrets'`,
      'must not import @azure/keyvault-secrets',
    ],
    ['orchestrations/a.ts', `import { app } from 'durable-functions'`, 'durable-functions but as types'],
    ['orchestrations/a.ts', `import { hash } from 'node:crypto'`, 'orchestrations/ must not import node:crypto'],
    [
      'orchestrations/a.ts',
      `import { connect } from '../migration/connect.ts'`,
      'must not import migration/connect.ts',
    ],
    ['host/a.ts', `const f = await import('../functions/http.ts')`, 'host/ must not import functions/http.ts'],
    ['cli/a.ts', `import pg from 'pg'`, 'cli/ must not import pg'],
    ['cli/a.ts', `import { x } from '../migration/models.ts'`, 'cli/ must not import migration/models.ts'],
    ['functions/http.ts', `import { x } from '../azure/credential.ts'`, 'only functions/environment.ts chooses'],
    ['azure/a.ts', `import { x } from '../functions/http.ts'`, 'azure/ must not import functions/http.ts'],
  ] as const)('%s: %s', ([path, text, message]) => {
    expect(arrows(sample(path, `\n${text}\n`))).toEqual([expect.stringContaining(`${path}:2 `)])
    expect(arrows(sample(path, text))[0]).toContain(message)
  })

  test('allowed imports are none of it', () => {
    const allowed = [
      sample(
        'orchestrations/a.ts',
        `import type { Task } from 'durable-functions'\nimport { x } from '../migration/model/x.ts'`,
      ),
      sample(
        'functions/environment.ts',
        `import { x } from '../azure/credential.ts'\nimport { app } from '@azure/functions'`,
      ),
      sample('migration/load/a.ts', `import pg from 'pg'\nimport { x } from '../sql.ts'\nimport fs from 'node:fs'`),
      sample('demo/a.ts', `import { x } from '../azure/credential.ts'\nimport pg from 'pg'`),
    ]
    expect(allowed.flatMap(arrows)).toEqual([])
  })

  test.for(['process.env.X', 'process?.env', `process['env']`, 'const { env } = process'])('%s', (text) => {
    expect(environment(sample('migration/a.ts', `// process.env\n${text}`))).toEqual([
      expect.stringContaining('migration/a.ts:2 reads process.env'),
    ])
    expect(environment(sample('functions/environment.ts', text))).toEqual([])
  })

  test.for([
    'new Date()',
    'new Date',
    'Date.now()',
    'Date()',
    'Math.random()',
    'await x',
    'async () => 1',
    'fetch(u)',
    'setTimeout(f)',
    'process.pid',
  ])('in an orchestration: %s', (text) => {
    expect(purity(sample('orchestrations/a.ts', `// Date\nconst s = 'Date'\nyield ${text}`))).toEqual([
      expect.stringContaining('orchestrations/a.ts:3 '),
    ])
    expect(purity(sample('migration/a.ts', text))).toEqual([])
    expect(purity(sample('orchestrations/a.ts', 'const at: Date = new Date(now.getTime() + 1)'))).toEqual([])
  })

  test('a file of 301 lines, and names that say nothing', () => {
    expect(length(sample('a.ts', 'x\n'.repeat(300)))).toEqual([])
    expect(length(sample('a.ts', 'x\n'.repeat(301)))).toEqual(['a.ts:301 has 301 lines; the most is 300'])
    expect(['a/utils.ts', 'common/a.ts', 'a/slot-manager.test.ts'].flatMap((p) => names(sample(p, '')))).toHaveLength(3)
    expect(names(sample('migration/replicate/replication-slot.ts', ''))).toEqual([])
  })

  test('ways out of the repository', () => {
    const out = [`see ../${'x'}/y.md`, `cd ${'/'}home/me/pgflex`, `"https://registry.${'npmjs'}.org/x"`]
    expect(inside(sample('docs/../a.md', out.join('\n'))).map((text) => text.split(' ')[0])).toEqual([
      'docs/../a.md:1',
      'docs/../a.md:2',
      'docs/../a.md:3',
    ])
    expect(inside(sample('docs/a.md', 'see ../infra/main.bicep'))).toEqual([])
  })
})
