import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface BicepFile {
  path: string
  text: string
  parameters: { name: string; required: boolean; secure: boolean }[]
  modules: { name: string; path: string; parameters: string[] }[]
  outputs: { name: string; value: string }[]
}

/** As much of a Bicep file as can be read line by line, in the layout that the files of infra/ have. */
export function readBicep(path: string): BicepFile {
  const text = readFileSync(join(ROOT, path), 'utf8').replaceAll('\r\n', '\n')
  return {
    path,
    text,
    parameters: [...text.matchAll(/((?:^@.*\n)*)^param (\w+) ([^\n]*)/gm)].map(([, decorators, name, rest]) => ({
      name: name!,
      required: !/(^|[^=!<>])=(?!=)/.test(rest!.replace(/'[^']*'/g, "''")),
      secure: decorators!.includes('@secure()'),
    })),
    modules: [...text.matchAll(/^module (\w+) '([^']+)'[^\n]*\{\n([\s\S]*?)^\}/gm)].map(([, name, file, body]) => ({
      name: name!,
      path: file!,
      parameters: [...body!.matchAll(/^ {4}(\w+):/gm)].map((match) => match[1]!),
    })),
    outputs: [...text.matchAll(/^output (\w+) \w+ = (.*)$/gm)].map(([, name, value]) => ({ name: name!, value: value! })),
  }
}
