import { expect, test } from 'vitest'
import { importsOf, maskSource } from './scan-source.ts'

test('every form of an import is found, with its line', () => {
  const source = `import a from 'default'
import type { B } from "./type.ts"
import {
  c,
  type D,
} from '../many.ts'
import * as e from 'star'
import 'side-effect'
import type from 'a-default-named-type'
export { f } from './re-export.ts'
export type { G } from './re-export-type.ts'
export * from './all.ts'
const h = await import('./dynamic.ts')
const i = require('cjs')
type J = import('./type-query.ts').J
`
  expect(importsOf(source).map(({ specifier, line, typeOnly }) => [line, specifier, typeOnly])).toEqual([
    [1, 'default', false],
    [2, './type.ts', true],
    [6, '../many.ts', false],
    [7, 'star', false],
    [8, 'side-effect', false],
    [9, 'a-default-named-type', false],
    [10, './re-export.ts', false],
    [11, './re-export-type.ts', true],
    [12, './all.ts', false],
    [13, './dynamic.ts', false],
    [14, 'cjs', false],
    [15, './type-query.ts', false],
  ])
})

test('what only looks like an import is none', () => {
  const source = `// import x from 'comment'
/* import y from 'block' */
const a = "import z from 'string'"
const b = \`import w from 'template' \${c} import v from 'after'\`
const d = /import u from 'regexp'/
export const e = 'not a module'
export function f(from = 'default value') {}
`
  expect(importsOf(source)).toEqual([])
})

test('code is kept and everything else is blanked at its place', () => {
  const source = "a(1) // Date\nb('Date', `Date ${Date.now({})} Date`, x / Date / 2, /[/]Date/g)"
  const masked = maskSource(source)
  expect(masked).toHaveLength(source.length)
  expect(masked.match(/Date/g)).toHaveLength(2)
  expect(masked).toMatch(/\$\{Date\.now\(\{\}\)\}/)
  expect(masked.split('\n')[0]!.trimEnd()).toBe('a(1)')
})
