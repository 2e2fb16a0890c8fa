import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ELSEWHERE, NOT_HERE } from './traps.ts'

const FOLDER = import.meta.dirname
const TITLE = /\btest(?:\.\w+\([^)]*\))*\(\s*['"`]traps? ([\d, ]+):/g

/** The traps that each test file of this folder names in the titles of its tests: `trap 13: …`, `traps 5, 60: …`. */
function namedInTitles(): number[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.pg.test.ts'))
    .flatMap((file) => [...readFileSync(join(FOLDER, file), 'utf8').matchAll(TITLE)])
    .flatMap(([, numbers]) => numbers!.split(',').map(Number))
}

const keys = (record: Record<number, unknown>): number[] => Object.keys(record).map(Number)

test('each of the 61 known traps of replication has a test here or elsewhere, or cannot arise', () => {
  const tested = new Set([...namedInTitles(), ...keys(ELSEWHERE)])
  const covered = [...tested, ...keys(NOT_HERE)].toSorted((a, b) => a - b)
  expect(covered).toEqual(Array.from({ length: 61 }, (_, n) => n + 1))
})

test('the tests elsewhere are there', () => {
  for (const { file, titles } of Object.values(ELSEWHERE).flat()) {
    const text = readFileSync(join(FOLDER, '../..', file), 'utf8')
    for (const title of titles) expect(text.includes(title), `${file}: ${title}`).toBe(true)
  }
})
