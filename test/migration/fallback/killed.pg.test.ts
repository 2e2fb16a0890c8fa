import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { endFallback } from '../../../migration/fallback/end-fallback.ts'
import { followBack } from '../../../migration/fallback/follow-back.ts'
import { switchBack } from '../../../migration/fallback/switch-back.ts'
import { fallbackState } from '../../../migration/model/fallback.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import type { ServerPair } from '../../support/servers.ts'
import { isFrozen, leftOf, readyToCutOver, startFallbackPair, type WithWayBack } from './cut-over.ts'
import { kill, startActivity } from './fallback-process.ts'
import { CONSISTENT, startWriters, WRITERS_DDL, WRITERS_ROWS } from './writers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startFallbackPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** ms; a dozen processes start one after the other, each of which has to read the whole engine first. */
const PROCESSES_MS = 180_000

/** Runs an activity again and again, and kills it as soon as each of these steps is done, until it ends by itself. */
async function killAtEach(
  way: WithWayBack,
  name: 'cutoverDatabase' | 'switchBack',
  steps: string[],
  read: () => Promise<DatabaseStatus>,
  afterKill: () => Promise<void>,
): Promise<string[]> {
  const killed: string[] = []
  for (;;) {
    const child = startActivity(way.migration, name)
    const outcome = once(child, 'message').then(([message]) => message as { next?: string; error?: string })
    let step: string | undefined
    for (;;) {
      const { cutover } = await read()
      step = cutover?.steps.map((one) => one.name).find((one) => steps.includes(one) && !killed.includes(one))
      if (step !== undefined || child.exitCode !== null || child.signalCode !== null) break
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    if (step !== undefined && !(await kill(child))) {
      killed.push(step)
      await afterKill()
      continue
    }
    const { next, error } = await outcome
    if (next === 'finished') return killed
    // The sessions of the one before may still be there for a moment.
    if (error === undefined || !/Another copy/.test(error)) throw new Error(`${name}: ${error ?? next}`)
  }
}

test(
  'killed after each of its steps, cutover and switch back go on: never are both sides writable, nothing is lost',
  async () => {
    await using way = await readyToCutOver(pair, 'killed', { ddl: WRITERS_DDL, rows: WRITERS_ROWS })
    const { documents, key } = way.migration.context
    const cuttingOver = ['prepare way back', 'freeze writes', 'check for late writes', 'begin way back']
    const forward = (): Promise<DatabaseStatus> => readDatabaseStatus(documents, key, 'killed')
    expect(await killAtEach(way, 'cutoverDatabase', cuttingOver, forward, async () => {})).toEqual(cuttingOver)
    await endDatabase(await way.context(), { state: 'Succeeded' })
    const writers = startWriters(pair, 'killed', 2)
    try {
      await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(50)
      for (let round = 0; round < 2; round++) {
        const child = startActivity(way.migration, 'followBack')
        const { changes } = await way.backStatus()
        // It has applied something, and is at it.
        await expect
          .poll(async () => (await way.backStatus()).changes.applied, { timeout: 20_000 })
          .toBeGreaterThan(changes.applied)
        await kill(child)
      }
      await way.ask('switchBack')
      const switching = ['freeze writes', 'drain', 'compare', 'check for late writes', 'let writes in']
      const killed = await killAtEach(
        way,
        'switchBack',
        switching,
        () => way.backStatus(),
        async () => {
          const sides = [await isFrozen(way, 'source'), await isFrozen(way, 'target')]
          expect(sides).toContain(true)
        },
      )
      expect(killed).toEqual(switching)
      const before = writers.acknowledged()
      await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(before + 20)
    } finally {
      await writers.stop()
    }
    expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([false, true])
    expect(await writers.missing('source')).toEqual([])
    expect(await way.onSource(CONSISTENT)).toEqual([{ ok: true }])
    expect((await way.backStatus()).changes.missed).toBe(0)
    await endFallback(await way.context())
    expect(await leftOf(way)).toEqual([])
  },
  PROCESSES_MS,
)

test('the old server that goes away while it is switched back to leaves the new one writable, and the way back can be ended without it', async () => {
  await using way = await readyToCutOver(pair, 'gone', { ddl: WRITERS_DDL, rows: WRITERS_ROWS })
  await way.cutOver()
  await way.catchUp()
  await way.ask('switchBack')
  const child = startActivity(way.migration, 'switchBack')
  const outcome = once(child, 'message').then(([message]) => message as object)
  await expect.poll(() => isFrozen(way, 'target'), { timeout: 20_000, interval: 2 }).toBe(true)
  await pair.source.kill()
  try {
    expect(await outcome).toEqual({ next: 'slice' })
    expect(await isFrozen(way, 'target')).toBe(false)
    expect(fallbackState(await way.backStatus())).toBe('Following')
    // A process that died at that moment comes back with the old server still away.
    await way.ask('switchBack')
    expect(await switchBack(await way.context())).toEqual({ next: 'slice' })
    expect(await isFrozen(way, 'target')).toBe(false)
    // Once it is decided, the old server is waited for: it may have let writes in.
    const back = await way.back()
    await way.ask('switchBack')
    const cutover = { startedAt: 'then', steps: [], decidedAt: 'then' }
    await back.status({ phase: 'CuttingOver', cutover })
    await expect(switchBack(await way.context())).rejects.toThrow(/target server/)
    expect((await way.backStatus()).cutover).toEqual(cutover)
    await back.status({ phase: 'Following', cutover: undefined })
    await way.ask(undefined)
    // What the new server keeps for it is seen all the same.
    await way.onTarget('create table filler as select g from generate_series(1, 20000) g')
    const before = (await way.backStatus()).slot!.retainedBytes
    await expect(followBack(await way.context())).rejects.toThrow(/target server/)
    expect((await way.backStatus()).slot!.retainedBytes).toBeGreaterThan(before)

    await way.ask('end')
    expect(await followBack(await way.context())).toEqual({ next: 'end' })
    await expect(endFallback(await way.context())).rejects.toThrow(/target server/)
    expect(await way.onTarget('select from pg_replication_slots where database = current_database()')).toEqual([])
    // After ten minutes it is given up, and said.
    await back.status({ endedOn: new Date(Date.now() - 11 * 60_000).toISOString() })
    expect(await endFallback(await way.context())).toEqual({ finished: true })
    const { message } = await way.backStatus()
    expect(message).toContain('The schema pgflex may remain on the source')
  } finally {
    await pair.source.start()
  }
})

test('when the new server is lost, the end makes the old one whole, and goes on to wait for the slot', async () => {
  await using way = await readyToCutOver(pair, 'lost', { ddl: WRITERS_DDL, rows: WRITERS_ROWS })
  await way.cutOver()
  await way.catchUp()
  await pair.target.kill()
  try {
    await way.ask('switchBack')
    expect(await switchBack(await way.context())).toEqual({ next: 'slice' })
    await way.ask('end')
    await expect(endFallback(await way.context())).rejects.toThrow(/source server/)
    expect(await way.onSource(`select from pg_namespace where nspname = 'pgflex'`)).toEqual([])
    expect(
      await way.onSource(`select attidentity from pg_attribute where attrelid = 'entry'::regclass and attname = 'id'`),
    ).toEqual([{ attidentity: 'a' }])
  } finally {
    await pair.target.start()
  }
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect(await leftOf(way)).toEqual([])
})
