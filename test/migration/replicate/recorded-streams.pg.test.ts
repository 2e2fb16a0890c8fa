import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EmbeddedServer } from '../../../demo/embedded-postgres.ts'
import { startEmbeddedServer } from '../../../demo/embedded-postgres.ts'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import type { PgoutputMessage } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleValues } from '../../../migration/replicate/tuple.ts'
import { damage, outcome } from './pgoutput-damage.ts'
import { random } from './workload.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

const TABLES = `
  create type mood as enum ('sad', 'happy');
  create table t (id int primary key, v text, m mood); alter table t alter v set storage external;
  create table f (a int, b text); alter table f replica identity full;
  create table k (a text, b int, v text, primary key (a, b));
  create publication p for table t, f, k`

/** Messages of every kind: small and large transactions, those taken back in part or in whole, and prepared ones. */
const WORK = [
  `insert into t values (1, repeat('x', 5000), 'happy'), (2, null, null), (3, 'é𝄞', 'sad'); insert into f select g % 2, 'same' from generate_series(1, 6) g; insert into k values ('a', 1, 'v'), ('b', 2, null)`,
  `update t set m = 'sad'; update t set id = 10 where id = 1; delete from t where id = 2; update f set b = null where a = 1; delete from f where a = 0; update k set b = 3 where a = 'a'; delete from k where a = 'b'`,
  `truncate t, f restart identity`,
  `select pg_logical_emit_message(true, 'tool', 'inside'), pg_logical_emit_message(false, 'tool', '\\x00ff'::bytea)`,
  `select pg_replication_origin_create('elsewhere'); select pg_replication_origin_session_setup('elsewhere'); begin; select pg_replication_origin_xact_setup('0/AB', now()); insert into k values ('origin', 1); commit; select pg_replication_origin_session_reset()`,
  // Over logical_decoding_work_mem: streamed before its end, with a part of it aborted.
  `begin; insert into t select g, repeat('x', 100), 'happy' from generate_series(100, 1100) g; savepoint s; insert into f select g, repeat('y', 100) from generate_series(1, 1500) g; select pg_logical_emit_message(true, 'tool', 'streamed'); rollback to s; update t set v = 'z' where id < 400; truncate f; commit`,
  `begin; insert into t select g, repeat('x', 100) from generate_series(2000, 4000) g; rollback`,
  `begin; insert into t values (5000, 'prepared'); prepare transaction 'small'`,
  `commit prepared 'small'`,
  `begin; delete from t where id = 5000; prepare transaction 'never'`,
  `rollback prepared 'never'`,
  `begin; insert into k select 'k' || g, g, repeat('x', 100) from generate_series(1, 2000) g; prepare transaction 'large'`,
  `commit prepared 'large'`,
]

/** Of protocol version 1, and what each later one adds. */
const KINDS = ['begin', 'commit', 'delete', 'insert', 'message', 'origin', 'relation', 'truncate', 'type', 'update']
const STREAMED = ['streamAbort', 'streamCommit', 'streamStart', 'streamStop']
const PREPARED = ['beginPrepare', 'commitPrepared', 'prepare', 'rollbackPrepared', 'streamPrepare']

/** Changes that do not say which streamed transaction they belong to, or do although they are of none. */
function misplacedIds(messages: PgoutputMessage[]): PgoutputMessage[] {
  let streaming: number | undefined
  return messages.filter((message) => {
    if (message.kind === 'streamStart') streaming = message.xid
    else if (message.kind === 'streamStop') streaming = undefined
    return message.kind === 'insert' && (message.xid !== undefined) !== (streaming !== undefined)
  })
}

describe.each([17, 18])('streams of PostgreSQL %i', (major) => {
  let server: EmbeddedServer

  beforeAll(async () => {
    server = await startEmbeddedServer(major, {
      settings: { logical_decoding_work_mem: '64kB', max_prepared_transactions: '5' },
    })
    await using admin = await server.connect()
    await admin.query(TABLES)
    await admin.query(`select pg_create_logical_replication_slot('plain', 'pgoutput');
      select pg_create_logical_replication_slot('prepared', 'pgoutput', twophase => true)`)
    for (const sql of WORK) await admin.query(sql)
  })

  afterAll(async () => {
    await server?.stop()
  })

  async function record(slot: string, options: Record<string, string>): Promise<Buffer[]> {
    await using admin = await server.connect()
    const { rows } = await admin.query<{ data: Buffer }>(
      `select data from pg_logical_slot_peek_binary_changes($1, null, null, variadic $2::text[])`,
      [slot, Object.entries({ publication_names: 'p', messages: 'true', ...options }).flat()],
    )
    return rows.map(({ data }) => data)
  }

  function decodeAll(stream: Buffer[]): PgoutputMessage[] {
    const decoder = new PgoutputDecoder()
    return stream.map((bytes) => decoder.decode(bytes))
  }

  test.each([
    ['1', 'plain', {}, KINDS],
    ['2', 'plain', { streaming: 'on' }, [...KINDS, ...STREAMED]],
    ['3', 'prepared', { streaming: 'on' }, [...KINDS, ...STREAMED, ...PREPARED]],
    ['4', 'prepared', { streaming: 'parallel' }, [...KINDS, ...STREAMED, ...PREPARED]],
  ])('all messages of protocol version %s are understood', async (version, slot, options, kinds) => {
    const stream = await record(slot, { proto_version: version, ...options })
    const messages = decodeAll(stream)
    expect([...new Set(messages.map(({ kind }) => kind))].toSorted()).toEqual(kinds.toSorted())
    const inserted = messages.filter((message) => message.kind === 'insert')
    expect(tupleValues(inserted[0]!.row).map(String)).toEqual(['1', 'x'.repeat(5000), 'happy'])
    expect(misplacedIds(messages)).toEqual([])
    const aborts = messages.filter((message) => message.kind === 'streamAbort')
    expect(aborts.filter(({ abortLsn }) => (abortLsn !== undefined) !== (version === '4'))).toEqual([])
  })

  test(`recorded messages that are damaged are refused or read as others (seed ${SEED})`, async () => {
    const next = random(SEED)
    for (const [version, slot, streaming] of [
      ['1', 'plain', 'off'],
      ['4', 'prepared', 'parallel'],
    ] as const) {
      const stream = await record(slot, { proto_version: version, ...(version === '1' ? {} : { streaming }) })
      // Thousands of them are alike: each different beginning of a message has its turn.
      const kinds = Map.groupBy(stream, (bytes) => `${bytes[0]} ${bytes.length > 200}`)
      const start = stream.find((bytes) => bytes[0] === 'S'.charCodeAt(0))
      for (const alike of kinds.values()) {
        for (let times = 0; times < 150; times++) {
          const bytes = damage(alike[next(alike.length)]!, stream[next(stream.length)]!, next)
          const decoder = new PgoutputDecoder({ binary: next(2) === 1 })
          if (start && next(2) === 1) decoder.decode(start)
          expect(['message', 'ProtocolViolation']).toContain(outcome(decoder, bytes))
        }
      }
    }
  })

  test('values in binary format are read when they are asked for, and refused when not', async () => {
    const stream = await record('plain', { proto_version: '1', binary: 'true' })
    const asked = new PgoutputDecoder({ binary: true })
    const inserted = stream.map((bytes) => asked.decode(bytes)).filter((message) => message.kind === 'insert')
    expect(tupleValues(inserted[0]!.row).slice(0, 2)).toEqual([Buffer.of(0, 0, 0, 1), Buffer.alloc(5000, 'x')])
    const decoder = new PgoutputDecoder()
    const outcomes = Map.groupBy(stream, (bytes) => outcome(decoder, bytes))
    expect([...outcomes.keys()].toSorted()).toEqual(['ProtocolViolation', 'message'])
    expect(outcomes.get('ProtocolViolation')!.some((bytes) => bytes[0] === 'I'.charCodeAt(0))).toBe(true)
  })
})
