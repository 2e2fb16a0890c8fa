import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seededRandom } from '../../../demo/random.ts'
import { loadLargeObjects } from '../../../migration/load/large-objects.ts'
import { APP_USER, startServerPair, TARGET_USER, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectNoLeaks } from './load-database.ts'
import { expectEqualLargeObjects } from './large-objects.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 18)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

/** One of so many megabytes that no two of them are equal, and small ones before and after it. */
const large = (megabytes: number): string => `
  select lo_from_bytea(20000 + n, convert_to(md5(n::text), 'UTF8')) from generate_series(1, 800) as n;
  select lo_create(20500000);
  select lo_put(20500000, n * 1024::int8 * 1024, convert_to(repeat(md5(n::text), 32768), 'UTF8')) from generate_series(0, ${megabytes - 1}) as n;
  select lo_from_bytea(20600000 + n, convert_to(md5(n::text), 'UTF8')) from generate_series(1, 800) as n`

function startLoad(folder: string, key: string, database: string): ChildProcess {
  const script = fileURLToPath(new URL('large-objects-process.ts', import.meta.url))
  return spawn(process.execPath, [script, folder, key, database], { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function report(child: ChildProcess): Promise<{ finished: boolean; peakBytes: number }> {
  let text = ''
  child.stdout!.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(child, 'close')
  return JSON.parse(text) as { finished: boolean; peakBytes: number }
}

test('an object of 100 MB needs no more memory than one of 1 MB', async () => {
  await using small = await createLoadDatabase(pair, 'small', { ddl: '', data: large(1) })
  await using big = await createLoadDatabase(pair, 'big', { ddl: '', data: large(100) })
  const load = async ({ folder, context }: typeof big): Promise<number> => {
    const { finished, peakBytes } = await report(startLoad(folder, context.key, context.database))
    expect(finished).toBe(true)
    return peakBytes
  }
  const [floor, peak] = [await load(small), await load(big)]
  // In the middle are the buffers of four streams and what the collector has not looked at yet.
  expect(peak - floor).toBeLessThan(60 * 1024 ** 2)
  await expectEqualLargeObjects(pair, 'big', { [APP_USER]: TARGET_USER })
})

test(`loads that are killed at random cost a comparison and nothing else (seed ${SEED})`, async () => {
  const random = seededRandom(SEED)
  await using migration = await createLoadDatabase(pair, 'killed', { ddl: '', data: large(100) })
  const { context, folder } = migration
  let interrupted = 0
  for (let kill = 0; kill < 4; kill++) {
    const child = startLoad(folder, context.key, 'killed')
    await sleep(400 + random.next() * 1_200)
    if (child.exitCode === null) interrupted++
    child.kill('SIGKILL')
    if (child.exitCode === null) await once(child, 'exit')
  }
  expect(interrupted).toBeGreaterThan(0)
  expect(await loadLargeObjects(context)).toEqual({ finished: true })
  await expectEqualLargeObjects(pair, 'killed', { [APP_USER]: TARGET_USER })
  await using target = await pair.target.connect('killed')
  const { rows } = await target.query(
    `select sum(bytes_written)::text as written, (select sum(length(data))::text from pg_largeobject) as there
       from pgflex.large_object_range`,
  )
  // What was committed before a kill is not written again after it.
  expect(rows).toEqual([{ written: rows[0]!.there, there: expect.stringMatching(/^104/) }])
  await expectNoLeaks(pair)
})
