import { PgoutputParser } from 'pg-logical-replication/dist/output-plugins/pgoutput/pgoutput-parser.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseLsn, type Lsn } from '../../../migration/lsn.ts'
import type { InsertMessage } from '../../../migration/replicate/pgoutput-message.ts'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import { PgoutputPlugin } from '../../../migration/replicate/pgoutput-plugin.ts'
import { readProgress } from '../../../migration/replicate/progress.ts'
import { openReplicationStream, type ReplicationStream } from '../../../migration/replicate/replication-stream.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { tupleValue, tupleValues } from '../../../migration/replicate/tuple.ts'
import type { StreamMessage } from '../../../migration/replicate/walsender-messages.ts'
import { APP_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'
import { BytesPlugin, openLibrary } from './library-stream.ts'

// Each guard around pg-logical-replication: what is lost when the library is used as its manual shows it, and
// beside it that the same does not happen here. From PostgreSQL 14 on: its plugin asks 13 for an option that 13
// does not know.

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'
/** ms; much less on a machine that is not busy. */
const SOON = { timeout: 20_000 }
const MANUAL = { acknowledge: { auto: false, timeoutSeconds: 0 } }

async function open(following: Following, startLsn: Lsn): Promise<ReplicationStream> {
  await using source = await following.context.source('test')
  const { slot, publication } = sourceObjects(following.context.key, following.context.database)
  return await openReplicationStream(following.context, { slot, publications: [publication], startLsn, source })
}

async function startLsn({ context }: Following): Promise<Lsn> {
  await using target = await context.target('test')
  return (await readProgress(target, sourceObjects(context.key, context.database).slot)).startLsn
}

/** Reads until a row with this id has been committed. @returns all that came */
async function readTo(stream: ReplicationStream, id: number): Promise<StreamMessage[]> {
  const all: StreamMessage[] = []
  const there = (): boolean => ids(all).includes(id) && all.at(-1)?.kind !== 'insert'
  await expect.poll(async () => (all.push(...(await stream.read(50))), there()), SOON).toBe(true)
  return all
}

function ids(messages: readonly StreamMessage[]): number[] {
  return inserts(messages).map(({ row }) => Number(tupleValue(row, 0)))
}

function inserts(messages: readonly StreamMessage[]): InsertMessage[] {
  return messages.filter((message) => message.kind === 'insert')
}

test('acknowledge: given the end of a commit, the library sends the LSN after it, and the next commit never comes', async () => {
  await using following = await startFollowing(pair, 'guard_adjacent', { ddl: DDL })
  await using library = await openLibrary(pair, following)
  await using other = await pair.source.connect('guard_adjacent')
  await other.query(`set role ${APP_USER}`)
  const begin = await startLsn(following)

  const rows: number[] = []
  const commits: { lsn: string; endLsn: Lsn }[] = []
  const begins: Lsn[] = []
  {
    await using stream = await library.subscribe({
      config: MANUAL,
      onData(message, lsn) {
        const { tag, commitLsn, commitEndLsn } = message as { tag: string; commitLsn: string; commitEndLsn: string }
        if (tag === 'begin') begins.push(parseLsn(commitLsn))
        if (tag === 'insert') rows.push(Number(message.new!['id']))
        if (tag === 'commit') commits.push({ lsn, endLsn: parseLsn(commitEndLsn) })
      },
    })
    // Two sessions commit at once until their records stand back to back.
    const adjacent = (): boolean => begins.length > 1 && begins.at(-1) === commits.at(-2)!.endLsn
    for (let id = 0; id < 200 && !adjacent(); id += 2) {
      await following.app.query(`begin; insert into t values (${id})`)
      await other.query(`begin; insert into t values (${id + 1})`)
      await Promise.all([following.app.query('commit'), other.query('commit')])
      await expect.poll(() => commits.length, { ...SOON, interval: 5 }).toBe(id + 2)
    }
    expect(adjacent()).toBe(true)
    // All but the last one is done: what the manual says is to acknowledge the LSN of its commit.
    const { lsn, endLsn } = commits.at(-2)!
    expect(parseLsn(lsn)).toBe(endLsn)
    await stream.service.acknowledge(lsn)
    await expect.poll(() => library.confirmed(), SOON).toBe(endLsn + 1n)
  }
  const [done, undone] = rows.slice(-2) as [number, number]
  await following.app.query('insert into t values (1000)')
  {
    const again: number[] = []
    await using _stream = await library.subscribe({
      config: MANUAL,
      onData: (message) => message.tag === 'insert' && again.push(Number(message.new!['id'])),
    })
    await expect.poll(() => again, SOON).toContain(1000)
    expect(again).toEqual([1000])
  }

  {
    await using stream = await open(following, begin)
    await readTo(stream, undone)
    stream.acknowledge(commits.at(-2)!.endLsn)
  }
  await using stream = await open(following, commits.at(-2)!.endLsn)
  expect(ids(await readTo(stream, 1000))).toEqual([undone, 1000])
  expect(done).not.toBe(undone)
})

test('timeoutSeconds and auto: the library acknowledges what was received, applied or not', async () => {
  await using following = await startFollowing(pair, 'guard_received', { ddl: DDL })
  const begin = await startLsn(following)
  for (const acknowledge of [
    { auto: false, timeoutSeconds: 1 },
    { auto: true, timeoutSeconds: 0 },
  ]) {
    await using library = await openLibrary(pair, following)
    let received: Lsn = 0n
    {
      await using _stream = await library.subscribe({
        config: { acknowledge },
        // It is still at work on the row when the process ends.
        onData(message) {
          if (message.tag === 'commit') received = parseLsn(message.commitEndLsn!)
          return new Promise(() => {})
        },
      })
      await following.app.query(`insert into t select coalesce(max(id), 0) + 1 from t`)
      await expect.poll(() => library.confirmed(), SOON).toBeGreaterThan(begin)
      await expect.poll(async () => received > 0n && (await library.confirmed()) > received, SOON).toBe(true)
    }
    await following.app.query('insert into t select max(id) + 1 from t')
    const again: number[] = []
    await using _stream = await library.subscribe({
      config: MANUAL,
      onData: (message) => message.tag === 'insert' && again.push(Number(message.new!['id'])),
    })
    await expect.poll(() => again.length, SOON).toBeGreaterThan(0)
    // The first row of each turn is lost.
    expect(again).toEqual([acknowledge.auto ? 4 : 2])
  }

  {
    await using stream = await open(following, begin)
    await readTo(stream, 4)
    // Answers to status messages: they have been seen by the source.
    for (let answers = 0; answers < 3; answers++) {
      stream.ping()
      await expect.poll(async () => Array.from(await stream.read(50), ({ kind }) => kind)).toContain('keepalive')
    }
  }
  await using stream = await open(following, begin)
  expect(ids(await readTo(stream, 4))).toEqual([1, 2, 3, 4])
})

test('flowControl: the library goes on behind a change whose handler has failed, and acknowledges it', async () => {
  await using following = await startFollowing(pair, 'guard_failed', {
    ddl: DDL,
    targetDdl: 'alter table t add check (id <> 2)',
  })
  await using library = await openLibrary(pair, following)
  const applied: number[] = []
  {
    let end: Lsn = 0n
    await using stream = await library.subscribe({
      config: { flowControl: { enabled: true } },
      async onData(message) {
        if (message.tag === 'commit') end = parseLsn(message.commitEndLsn!)
        if (message.tag !== 'insert') return
        await using target = await pair.target.connect('guard_failed')
        const { id } = message.new as { id: number }
        await target.query('insert into t values ($1)', [id])
        applied.push(id)
      },
    })
    for (const id of [1, 2, 3]) await following.app.query(`insert into t values (${id})`)
    await expect.poll(() => applied, SOON).toContain(3)
    await expect.poll(() => library.confirmed(), SOON).toBeGreaterThan(end)
    expect(stream.errors.map(String)).toEqual([expect.stringContaining('t_id_check')])
  }
  expect(applied).toEqual([1, 3])
  await following.app.query('insert into t values (4)')
  {
    const again: number[] = []
    await using _stream = await library.subscribe({
      config: MANUAL,
      onData: (message) => message.tag === 'insert' && again.push(Number(message.new!['id'])),
    })
    await expect.poll(() => again, SOON).toEqual([4])
  }

  await using target = await pair.target.connect('guard_failed')
  await target.query('truncate t')
  await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({ code: 'ApplyRefused' })
  await target.query('alter table t drop constraint t_id_check')
  await following.expectEqual()
})

test("the library's plugin carries values through JavaScript types: microseconds, digits and the text of JSON are lost", async () => {
  await using following = await startFollowing(pair, 'guard_values', {
    ddl: `create table t (id int primary key, at timestamptz, b timestamp, n numeric[], i8 int8[], j json, iv interval, v text)`,
  })
  await using library = await openLibrary(pair, following)
  await using target = await pair.target.connect('guard_values')
  const texts = async (): Promise<Record<string, string>> => {
    await using own = await following.context.target('test')
    return (await own.query<Record<string, string>>('select * from public.t')).rows[0]!
  }
  const rows: Record<string, unknown>[] = []
  {
    await using _stream = await library.subscribe({
      config: MANUAL,
      onData: (message) => message.tag === 'insert' && rows.push(message.new!),
    })
    await following.app.query(
      `insert into t values (1, '2024-02-03 04:05:06.123456+00', '0044-03-15 00:00:00.000001 BC', '{0.12345678901234567890,1.00}',
         '{9007199254740993}', '{"a": 1,  "a": 12345678901234567890}', '1 day 00:00:00.000001', 'text')`,
    )
    await expect.poll(() => rows.length, SOON).toBe(1)
  }
  // As a program would go on with them.
  await target.query('insert into t values ($1, $2, $3, $4, $5, $6, $7, $8)', Object.values(rows[0]!))
  const theirs = await texts()
  await target.query('truncate t')
  await following.expectEqual()
  const ours = await texts()
  expect(Object.keys(ours).filter((column) => theirs[column] === ours[column])).toEqual(['id', 'i8', 'iv', 'v'])
  expect([ours['at'], theirs['at']]).toEqual(['2024-02-03 04:05:06.123456+00', '2024-02-03 04:05:06.123+00'])
  expect([ours['n'], theirs['n']]).toEqual(['{0.12345678901234567890,1.00}', '{0.12345678901234568,1}'])
  expect([ours['j'], theirs['j']]).toEqual(['{"a": 1,  "a": 12345678901234567890}', '{"a":12345678901234567000}'])
})

test("the library's plugin throws on what protocol 2 sends of a transaction that is still open", async () => {
  await using following = await startFollowing(pair, 'guard_protocol', { ddl: DDL })
  await using library = await openLibrary(pair, following)
  const { publication } = sourceObjects(following.context.key, 'guard_protocol')
  const messages: Buffer[] = []
  {
    await using _stream = await library.subscribe({
      config: MANUAL,
      client: { options: '-c logical_decoding_work_mem=64kB' },
      plugin: new BytesPlugin({ publication, options: `proto_version '2', streaming 'on'` }),
      onData: (bytes) => messages.push(Buffer.from(bytes as unknown as Buffer)),
    })
    await following.app.query(`insert into t select g, 'v' from generate_series(1, 5000) g`)
    // c: the end of a transaction that was sent before its end.
    await expect.poll(() => messages.at(-1)?.[0], SOON).toBe(0x63)
  }
  const theirs = new PgoutputParser()
  // The library calls it from an event of the socket: nothing catches this, and the process ends.
  expect(() => messages.map((bytes) => theirs.parse(bytes))).toThrow('unknown pgoutput message')
  const ours = new PgoutputDecoder()
  const decoded = messages.map((bytes) => ours.decode(bytes))
  expect(decoded.filter(({ kind }) => kind === 'insert')).toHaveLength(5000)
  expect(decoded.at(-1)).toMatchObject({ kind: 'streamCommit' })
})

test('the bytes that the library hands over are a view of a buffer that is used again', async () => {
  await using following = await startFollowing(pair, 'guard_buffer', { ddl: DDL })
  await using library = await openLibrary(pair, following)
  const begin = await startLsn(following)
  const { publication } = sourceObjects(following.context.key, 'guard_buffer')
  const kept: Buffer[] = []
  const copies: Buffer[] = []
  const letters = 'abcdefghijklmnopqrstuvwxyz'
  {
    await using _stream = await library.subscribe({
      config: MANUAL,
      plugin: new BytesPlugin({ publication, options: `proto_version '1'` }),
      onData(bytes) {
        kept.push(bytes as unknown as Buffer)
        copies.push(Buffer.from(bytes as unknown as Buffer))
      },
    })
    // Longer than a chunk of the socket, so that messages are put together from several.
    await following.app.query(
      `insert into t select g, repeat(substr('${letters}', 1 + g % 26, 1), 50000) from generate_series(1, 100) g`,
    )
    await expect.poll(() => copies.at(-1)?.[0], SOON).toBe(0x43)
  }
  expect(kept.filter((bytes, i) => !bytes.equals(copies[i]!)).length).toBeGreaterThan(10)

  await using stream = await open(following, begin)
  for (const { row } of inserts(await readTo(stream, 100))) {
    const [id, v] = tupleValues(row).map(String)
    expect(v).toBe(letters[Number(id) % 26]!.repeat(50_000))
  }
})

test("settings of the source's database change the text of values, and another value arrives", async () => {
  const database = 'guard_settings'
  await using following = await startFollowing(pair, database, {
    ddl: `create table t (d date primary key, at timestamptz, i interval, f float8, b bytea)`,
  })
  await using admin = await pair.source.connect()
  for (const setting of [
    `datestyle = 'SQL, DMY'`,
    `intervalstyle = 'sql_standard'`,
    'extra_float_digits = 0',
    `bytea_output = 'escape'`,
    `timezone = 'America/St_Johns'`,
  ]) {
    await admin.query(`alter database ${database} set ${setting}`)
  }
  await using library = await openLibrary(pair, following)
  const { publication } = sourceObjects(following.context.key, database)
  const rows: string[][] = []
  {
    await using _stream = await library.subscribe({
      config: MANUAL,
      // Raw text already: what is shown here lies in the session.
      plugin: new PgoutputPlugin({ publications: [publication] }),
      onData: (message) => {
        const { kind, row } = message as unknown as InsertMessage
        if (kind === 'insert') rows.push(tupleValues(row).map(String))
      },
    })
    await following.app.query(
      `insert into t values ('2024-02-03', '2024-02-03 04:05:06+00', '-1 day -02:00:00', 0.1::float8 + 0.2, '\\x5c00ff')`,
    )
    await expect.poll(() => rows.length, SOON).toBe(1)
  }
  expect(rows[0]).toEqual(['03/02/2024', '03/02/2024 00:35:06 NST', '-1 2:00:00', '0.3', '\\\\\\000\\377'])
  await using target = await pair.target.connect(database)
  const day = async (): Promise<unknown> =>
    (await target.query(`select to_char(d, 'DD Month YYYY') as day from t`)).rows
  await target.query('insert into t (d) values ($1)', [rows[0]![0]])
  // Read on the other side with its own settings: March in place of February.
  expect(await day()).toEqual([{ day: '02 March     2024' }])
  await target.query('truncate t')

  await following.expectEqual()
  expect(await day()).toEqual([{ day: '03 February  2024' }])
})
