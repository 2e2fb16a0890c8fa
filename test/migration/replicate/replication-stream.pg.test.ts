import { LogicalReplicationService } from 'pg-logical-replication/dist/logical-replication-service.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLsn, parseLsn, type Lsn } from '../../../migration/lsn.ts'
import { PgoutputPlugin } from '../../../migration/replicate/pgoutput-plugin.ts'
import { readProgress } from '../../../migration/replicate/progress.ts'
import { openReplicationStream, type ReplicationStream } from '../../../migration/replicate/replication-stream.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { tupleValue, tupleValues } from '../../../migration/replicate/tuple.ts'
import type { StreamMessage } from '../../../migration/replicate/walsender-messages.ts'
import { APP_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  // Short enough for a test to see what happens after it.
  pair = await startServerPair(13, 17, { sourceSettings: { wal_sender_timeout: '1500ms' } })
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

async function open(following: Following, startLsn: Lsn, queueBytes?: number): Promise<ReplicationStream> {
  await using source = await following.context.source('test')
  const { slot, publication } = sourceObjects(following.context.key, following.context.database)
  return await openReplicationStream(following.context, {
    slot,
    publications: [publication],
    startLsn,
    source,
    queueBytes,
  })
}

/** Reads until a message fits, and returns all that came. */
async function readUntil(
  stream: ReplicationStream,
  fits: (message: StreamMessage) => boolean,
): Promise<StreamMessage[]> {
  const all: StreamMessage[] = []
  const deadline = Date.now() + 20_000
  while (Date.now() < deadline) {
    const messages = [...(await stream.read(100))]
    all.push(...messages)
    if (messages.some(fits)) return all
  }
  throw new Error(`Not among ${all.map(({ kind }) => kind).join(' ')}.`)
}

/** The rows that were inserted, as text. */
function rowsOf(messages: StreamMessage[]): (string | null)[][] {
  return messages
    .filter((message) => message.kind === 'insert')
    .map(({ row }) => tupleValues(row).map((value) => (value === null ? null : String(value))))
}

async function startLsn(following: Following): Promise<Lsn> {
  await using target = await following.context.target('test')
  return (await readProgress(target, sourceObjects(following.context.key, following.context.database).slot)).startLsn
}

async function confirmed(following: Following): Promise<Lsn> {
  await using admin = await pair.source.connect(following.context.database)
  const { slot } = sourceObjects(following.context.key, following.context.database)
  const { rows } = await admin.query<{ lsn: string }>(
    'select confirmed_flush_lsn as lsn from pg_replication_slots where slot_name = $1',
    [slot],
  )
  return parseLsn(rows[0]!.lsn)
}

/** Two transactions whose commit records stand back to back: the end of the first, and what follows. */
async function adjacentCommits(
  following: Following,
  stream: ReplicationStream,
): Promise<{ firstEnd: Lsn; secondId: string }> {
  await using other = await pair.source.connect(following.context.database)
  await other.query(`set role ${APP_USER}`)
  for (let id = 0; id < 100; id += 2) {
    await following.app.query(`begin; insert into t values (${id})`)
    await other.query(`begin; insert into t values (${id + 1})`)
    await Promise.all([following.app.query('commit'), other.query('commit')])
    const commits: Lsn[] = []
    const messages = await readUntil(
      stream,
      (message) => message.kind === 'commit' && commits.push(message.endLsn) === 2,
    )
    const begins = messages.filter((message) => message.kind === 'begin')
    if (begins[1]!.finalLsn !== commits[0]) continue
    const inserts = messages.filter((message) => message.kind === 'insert')
    return { firstEnd: commits[0]!, secondId: String(tupleValue(inserts[1]!.row, 0)) }
  }
  throw new Error('No two commits were adjacent.')
}

test('after the acknowledgement of a commit, one that stands right behind it still arrives', async () => {
  await using following = await startFollowing(pair, 'adjacent', { ddl: DDL })
  let adjacent: { firstEnd: Lsn; secondId: string }
  {
    await using stream = await open(following, await startLsn(following))
    adjacent = await adjacentCommits(following, stream)
    stream.acknowledge(adjacent.firstEnd)
    await expect.poll(() => confirmed(following)).toBe(adjacent.firstEnd)
  }
  await using stream = await open(following, adjacent.firstEnd)
  const messages = await readUntil(stream, ({ kind }) => kind === 'commit')
  expect(rowsOf(messages)).toEqual([[adjacent.secondId, null]])
})

test('given the end of a commit, the library itself would skip the next one: it sends the LSN after', async () => {
  await using following = await startFollowing(pair, 'library', { ddl: DDL })
  let adjacent: { firstEnd: Lsn; secondId: string }
  {
    await using stream = await open(following, await startLsn(following))
    adjacent = await adjacentCommits(following, stream)
  }
  const { slot, publication } = sourceObjects(following.context.key, following.context.database)
  const config = { ...(await following.context.replicationConfig('test')), ssl: false }
  const service = new LogicalReplicationService(config, { acknowledge: { auto: false, timeoutSeconds: 0 } })
  service.on('error', () => {})
  const started = new Promise<void>((resolve) => service.on('start', () => resolve()))
  const ended = service.subscribe(new PgoutputPlugin({ publications: [publication] }), slot, '0/0').catch(() => {})
  await started
  await service.acknowledge(formatLsn(adjacent.firstEnd))
  await expect.poll(() => confirmed(following)).toBe(adjacent.firstEnd + 1n)
  await service.destroy()
  await ended
  await following.app.query(`insert into t values (1000)`)
  await using stream = await open(following, adjacent.firstEnd)
  const messages = await readUntil(stream, ({ kind }) => kind === 'commit')
  expect(rowsOf(messages)).toEqual([['1000', null]])
})

test('what was received and not acknowledged comes again', async () => {
  await using following = await startFollowing(pair, 'again', { ddl: DDL })
  const begin = await startLsn(following)
  await following.app.query(`insert into t values (1); insert into t values (2)`)
  for (let attempt = 0; attempt < 2; attempt++) {
    await using stream = await open(following, begin)
    const messages = await readUntil(stream, ({ kind }) => kind === 'commit')
    expect(messages.filter(({ kind }) => kind === 'insert')).toHaveLength(2)
  }
  expect(await confirmed(following)).toBeLessThanOrEqual(begin)
})

test('a paused socket holds back the source without losing the connection, and everything arrives in the end', async () => {
  await using following = await startFollowing(pair, 'paused', { ddl: DDL })
  await using stream = await open(following, await startLsn(following), 64 * 1024)
  await following.app.query(`insert into t select g, repeat('x', 200) from generate_series(1, 100000) g`)
  await using admin = await pair.source.connect('paused')
  // Twice the timeout without reading anything.
  await expect
    .poll(
      async () => {
        const { rows } = await admin.query<{ old: boolean }>(
          `select now() - backend_start > interval '3.5 s' as old from pg_stat_replication where application_name = 'pgflex follow'`,
        )
        return rows[0]?.old
      },
      { timeout: 10_000 },
    )
    .toBe(true)
  // One chunk of the socket may come on top.
  expect(stream.queuedBytes).toBeLessThan(512 * 1024)
  const messages = await readUntil(stream, ({ kind }) => kind === 'commit')
  // Rows are views of what arrived, which nobody writes to again.
  const value = 'x'.repeat(200)
  expect(rowsOf(messages)).toEqual(Array.from({ length: 100_000 }, (_, i) => [String(i + 1), value]))
})

test('a stream ends within two seconds in the middle of a large transaction, and its slot is free soon', async () => {
  await using following = await startFollowing(pair, 'large_end', { ddl: DDL })
  const begin = await startLsn(following)
  await following.app.query(`insert into t select g, repeat('x', 500) from generate_series(1, 200000) g`)
  const stream = await open(following, begin)
  await readUntil(stream, ({ kind }) => kind === 'insert')
  const before = performance.now()
  await stream[Symbol.asyncDispose]()
  expect(performance.now() - before).toBeLessThan(2_500)
  await using again = await open(following, begin)
  await readUntil(again, ({ kind }) => kind === 'insert')
})

test('a walsender of ours that still has the slot is ended', async () => {
  await using following = await startFollowing(pair, 'taken', { ddl: DDL })
  const begin = await startLsn(following)
  const stale = await open(following, begin)
  await following.app.query(`insert into t values (1)`)
  await using stream = await open(following, begin)
  await readUntil(stream, ({ kind }) => kind === 'commit')
  await expect(readUntil(stale, () => false)).rejects.toThrow(/terminat/i)
  await stale[Symbol.asyncDispose]()
})

test('a source that is asked for a keepalive tells how far it has sent, and an idle slot follows', async () => {
  await using following = await startFollowing(pair, 'idle', { ddl: `${DDL}; create table not_published (v text)` })
  await using stream = await open(following, await startLsn(following))
  await using admin = await pair.source.connect('idle')
  await admin.query(`create table public.of_nobody as select g from generate_series(1, 1000) g`)
  const { rows } = await admin.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  const flushed = parseLsn(rows[0]!.lsn)
  stream.ping()
  const messages = await readUntil(stream, (message) => {
    if (message.kind !== 'keepalive') return false
    if (message.walEnd < flushed) stream.ping()
    return message.walEnd >= flushed
  })
  stream.acknowledge((messages.at(-1) as { walEnd: Lsn }).walEnd)
  await expect.poll(() => confirmed(following)).toBeGreaterThanOrEqual(flushed)
})

test('a slot that is gone or not there is lost for good', async () => {
  await using following = await startFollowing(pair, 'gone', { ddl: DDL })
  const begin = await startLsn(following)
  {
    await using source = await following.context.source('test')
    const { slot } = sourceObjects(following.context.key, 'gone')
    await source.query('select pg_drop_replication_slot($1)', [slot])
  }
  await expect(open(following, begin)).rejects.toMatchObject({ code: 'SlotLost', retryable: false })
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({ code: 'SlotLost' })
})
