import { afterAll, beforeAll, expect, test } from 'vitest'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { drain } from '../../../migration/cutover/drain.ts'
import { takeEndLsn } from '../../../migration/cutover/end-lsn.ts'
import { switchBack } from '../../../migration/fallback/switch-back.ts'
import { fallbackState } from '../../../migration/model/fallback.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import { readDatabaseStatus, readEvents, readRecord, updateRecord } from '../../../migration/store/migrations.ts'
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts'
import type { ServerPair } from '../../support/servers.ts'
import { isFrozen, readyToCutOver, startFallbackPair, type WithWayBack } from './cut-over.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startFallbackPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const CONTENT = {
  ddl: 'create table t (id int primary key, v int not null)',
  rows: 'insert into t select g, g from generate_series(1, 100) g',
}

/** ms; a server is given up when it has not answered for about half a minute. */
const GIVEN_UP = { timeout: 60_000, interval: 50 }
const FROZEN = { timeout: 30_000, interval: 10 }

/** Holds up whoever reads the table: the comparison. */
async function lockTable(side: ServerPair['source'], database: string): Promise<AsyncDisposable> {
  const session = await side.connect(database)
  await session.query('begin; lock table t in access exclusive mode')
  return session
}

interface Silent {
  way: WithWayBack
  relay: TcpRelay
}

/** A database whose connections to one side can be made to hang. */
async function prepareSilent(
  stack: AsyncDisposableStack,
  side: 'source' | 'target',
  database: string,
  fallback: 'None' | 'ReverseReplication' = 'None',
): Promise<Silent> {
  const relay = stack.use(await startTcpRelay(pair[side]))
  const relayed = { ...pair, [side]: { ...pair[side], port: relay.port } }
  const way = stack.use(await readyToCutOver(relayed, database, { ...CONTENT, pgflex: { fallback } }))
  await drain(way.migration.context, await takeEndLsn(way.migration.context))
  return { way, relay }
}

const statusOf = ({ migration: { context } }: WithWayBack): Promise<DatabaseStatus> =>
  readDatabaseStatus(context.documents, context.key, context.database)

/** The target of a cutover hangs: writes are let in on the source. */
async function expectCutoverGivenUp({ way, relay }: Silent): Promise<void> {
  const { documents, key, database } = way.migration.context
  {
    await using _lock = await lockTable(pair.target, database)
    const outcome = cutoverDatabase(await way.context())
    await expect.poll(() => isFrozen(way, 'source'), FROZEN).toBe(true)
    relay.hang()
    await expect.poll(() => isFrozen(way, 'source'), GIVEN_UP).toBe(false)
    expect(await outcome).toEqual({ next: 'slice' })
  }
  expect((await statusOf(way)).message).toMatch(
    /called off, and writes are let in again on the source: .*has not answered/,
  )
  relay.answer()
  await updateRecord(documents, key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { [database]: { at: new Date().toISOString(), force: false } } },
  }))
  await expect.poll(() => follow(way.migration.context), GIVEN_UP).toEqual({ next: 'cutover' })
  await way.cutOver()
  expect(await isFrozen(way, 'source')).toBe(true)
}

/** The source hangs: writes are let in when it answers again, or whoever has its address by then. */
async function expectSourceGivenUp({ way, relay }: Silent): Promise<void> {
  await using _lock = await lockTable(pair.target, way.migration.context.database)
  const outcome = cutoverDatabase(await way.context())
  await expect.poll(() => isFrozen(way, 'source'), FROZEN).toBe(true)
  relay.hang()
  await expect.poll(async () => (await statusOf(way)).calledOff?.reason, GIVEN_UP).toMatch(/source has not answered/)
  relay.answer()
  expect(await outcome).toEqual({ next: 'slice' })
  expect(await isFrozen(way, 'source')).toBe(false)
  expect((await statusOf(way)).message).toMatch(/called off, and writes are let in again on the source/)
}

/** The old server hangs at a switch back: writes are let in on the new one. */
async function expectSwitchBackGivenUp({ way, relay }: Silent): Promise<void> {
  await way.ask('switchBack')
  {
    await using _lock = await lockTable(pair.source, way.migration.context.database)
    const outcome = switchBack(await way.context())
    await expect.poll(() => isFrozen(way, 'target'), FROZEN).toBe(true)
    relay.hang()
    await expect.poll(() => isFrozen(way, 'target'), GIVEN_UP).toBe(false)
    expect(await outcome).toEqual({ next: 'slice' })
  }
  expect((await way.backStatus()).message).toMatch(
    /called off, and writes are let in again on the new server: .*has not answered/,
  )
  relay.answer()
  await way.ask('switchBack')
  await expect.poll(async () => switchBack(await way.context()), GIVEN_UP).toEqual({ next: 'finished' })
  expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([false, true])
}

/** The target hangs while it is followed to: that is told, the latency is not known, and it is waited for. */
async function expectSilenceTold({ way, relay }: Silent): Promise<void> {
  const { context } = way.migration
  const stop = new AbortController()
  const outcome = replicateSlice({ ...context, draining: stop.signal }, { ms: 120_000 })
  const applying = `select from pg_stat_activity where datname = current_database() and application_name = 'pgflex apply'`
  await expect.poll(() => way.onTarget(applying), FROZEN).toHaveLength(1)
  await context.status({ latencySeconds: undefined })
  await expect.poll(async () => (await statusOf(way)).latencySeconds, FROZEN).toBe(0)
  relay.hang()
  await way.onSource('insert into t values (101, 101)')
  await expect.poll(async () => (await statusOf(way)).latencySeconds, GIVEN_UP).toBeUndefined()
  const told = async (): Promise<string[]> =>
    (await readEvents(context.documents, context.key)).map(({ event }) => event)
  await expect.poll(told, GIVEN_UP).toContain('TargetSilent')
  relay.answer()
  await expect.poll(() => way.onTarget('select from t where id = 101'), GIVEN_UP).toHaveLength(1)
  await expect.poll(async () => (await statusOf(way)).latencySeconds, GIVEN_UP).toBe(0)
  stop.abort()
  expect(await outcome).toMatchObject({ reason: 'draining' })
}

// At once, since each of them waits for half a minute.
test('a server that takes everything and answers nothing is given up, or told of', async () => {
  await using stack = new AsyncDisposableStack()
  const old = await prepareSilent(stack, 'source', 'silent_old', 'ReverseReplication')
  await old.way.cutOver()
  await old.way.catchUp()
  const target = await prepareSilent(stack, 'target', 'silent_target')
  const source = await prepareSilent(stack, 'source', 'silent_source')
  const slice = await prepareSilent(stack, 'target', 'silent_slice')
  await Promise.all([
    expectCutoverGivenUp(target),
    expectSourceGivenUp(source),
    expectSwitchBackGivenUp(old),
    expectSilenceTold(slice),
  ])
  // What was called off lets writes in where they were; what was done anew has moved them.
  const frozen = [isFrozen(target.way, 'source'), isFrozen(source.way, 'source'), isFrozen(old.way, 'target')]
  expect(await Promise.all(frozen)).toEqual([true, false, true])
}, 150_000)

test('a switch back that is called off while the new server is away lets writes in when it is back', async () => {
  await using way = await readyToCutOver(pair, 'new_away', CONTENT)
  await way.cutOver()
  await way.catchUp()
  await way.ask('switchBack')
  const { documents, key } = way.migration.context
  {
    await using _lock = await lockTable(pair.source, 'new_away')
    const outcome = switchBack(await way.context())
    await expect.poll(() => isFrozen(way, 'target'), FROZEN).toBe(true)
    await pair.target.kill()
    await expect
      .poll(async () => (await way.backStatus()).message, FROZEN)
      .toMatch(/being called off .*writes are still stopped on the new server: /)
    expect(fallbackState(await way.backStatus())).toBe('SwitchingBack')
    await expect.poll(() => pair.target.start().then(() => true), { timeout: 20_000, interval: 100 }).toBe(true)
    expect(await outcome).toEqual({ next: 'slice' })
  }
  expect(await isFrozen(way, 'target')).toBe(false)
  expect((await way.backStatus()).message).toMatch(/called off, and writes are let in again on the new server/)
  expect((await readRecord(documents, key))!.requests.fallback).toEqual({})
  const told = (await readEvents(documents, key)).map(({ event }) => event)
  expect(told.filter((event) => /^(WritesStillStopped|SwitchBackCalledOff)$/.test(event))).toEqual([
    'WritesStillStopped',
    'SwitchBackCalledOff',
  ])
}, 120_000)
