import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DemoResult } from '../../demo/summary.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'demo', 'main.js')

/** The demo's own, so that what it leaves behind can be told from what others do. */
let temporary: string

beforeAll(() => {
  temporary = mkdtempSync(join(tmpdir(), 'pgflex-test-'))
  // The servers of root's demo run as another user, who has to get through.
  chmodSync(temporary, 0o711)
})

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true })
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the built demo; `interrupt` ends it as Ctrl-C does when its stderr has come so far. */
function demo(args: string[], interrupt?: RegExp): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended: Ended = { code: null, stdout: '', stderr: '' }
    let interrupted = false
    child.stdout.setEncoding('utf8').on('data', (text: string) => (ended.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      ended.stderr += text
      if (!interrupt?.test(ended.stderr) || interrupted) return
      interrupted = true
      child.kill('SIGINT')
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...ended, code }))
  })
}

function resultOf({ stdout, stderr }: Ended): DemoResult {
  const last = stdout.trimEnd().split('\n').at(-1) ?? ''
  expect(last.startsWith('{'), `no result:\n${stdout}\n${stderr}`).toBe(true)
  return JSON.parse(last) as DemoResult
}

test('the demo migrates two databases under load; every row and sequence is equal, and nothing is left behind', async () => {
  const ended = await demo(['--json', '--seconds', '3'])
  const result = resultOf(ended)
  expect(result.databases.map(({ comparison }) => comparison.differences)).toEqual([[], []])
  expect(result.ok).toBe(true)
  expect(ended.code).toBe(0)
  for (const { tables, rowsCopied, changesApplied, downtimeSeconds, workload, comparison } of result.databases) {
    expect(tables).toBeGreaterThanOrEqual(20)
    expect(rowsCopied).toBeGreaterThan(10_000)
    expect(changesApplied).toBeGreaterThan(100)
    expect(downtimeSeconds).toBeGreaterThan(0)
    expect(workload.errors).toEqual([])
    expect(workload.refused).toBeGreaterThan(0)
    expect(comparison.commits).toEqual({ acknowledged: workload.committed, missing: 0, unexpected: 0 })
  }
  expect(ended.stdout).toContain(result.page)
  await expect(fetch(new URL('/health', result.page))).rejects.toThrow('fetch failed')
  expect(readdirSync(temporary)).toEqual([])
})

test('one row that differs makes the demo fail and is named', async () => {
  const ended = await demo(['--json', '--seconds', '1', '--break'])
  const result = resultOf(ended)
  expect(ended.code).toBe(1)
  expect(result.ok).toBe(false)
  const differences = result.databases.flatMap(({ comparison }) => comparison.differences)
  expect(differences[0]).toContain('table "shop"."country"')
  expect(differences.filter((line) => line.startsWith('table'))).toHaveLength(1)
  expect(ended.stdout).toContain('shop: DIFFERENT')
})

test('Ctrl-C in the middle stops everything and leaves nothing behind', async () => {
  const ended = await demo(['--json'], /MigratingData/)
  expect(ended.code).toBe(130)
  expect(JSON.parse(ended.stdout.trim())).toMatchObject({ ok: false })
  expect(readdirSync(temporary)).toEqual([])
})

test('a mistake in the options is told, with exit code 2', async () => {
  expect(await demo(['--seconds', 'ten'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--seconds') })
  expect(await demo(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('--keep') })
})
