import { expect, test } from 'vitest'
import type { Lsn } from '../../../../migration/lsn.ts'
import { Applier } from '../../../../migration/replicate/apply/applier.ts'
import type { Statement } from '../../../../migration/replicate/apply/statements.ts'
import { TargetTables } from '../../../../migration/replicate/apply/target-tables.ts'
import type { GroupEnd } from '../../../../migration/replicate/apply/target-transaction.ts'
import { planTable } from '../../../../migration/replicate/apply/table-plan.ts'
import type { PgoutputMessage, Relation } from '../../../../migration/replicate/pgoutput-message.ts'
import { tupleOf } from '../../../../migration/replicate/tuple.ts'

const RELATION: Relation = {
  oid: 1,
  schema: 'public',
  name: 't',
  replicaIdentity: 'd',
  columns: [{ name: 'id', key: true, typeOid: 23, typeModifier: -1 }],
}
const POINT = 100n

interface Write {
  statements: readonly Statement[]
  end: GroupEnd | undefined
  succeed(): Promise<void>
  fail(error: Error): Promise<void>
}

/** An applier whose target answers when the test says so. */
function applierOf(appliedLsn: Lsn): { applier: Applier; acknowledged: Lsn[]; writes: Write[]; ignored: string[] } {
  const acknowledged: Lsn[] = []
  const writes: Write[] = []
  const ignored: string[] = []
  const tables = new TargetTables({
    catalog: undefined as never,
    points: { get: (_schema, name) => (name === 't' ? POINT : undefined), tables: () => [] },
    orders: new Map(),
  })
  tables.describe(RELATION)
  tables.describe({ ...RELATION, oid: 2, name: 'other' })
  tables.plan = (oid) => {
    const plan = planTable(
      RELATION,
      {
        columns: [{ name: 'id', type: 'integer', generated: false, binaryOid: null, imageEqual: true }],
        uniqueIndexes: [],
        deferrable: [],
      },
      POINT,
      'lastStates',
    )
    tables.known = (known) => (known === oid ? plan : undefined)
    return Promise.resolve(plan)
  }
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const applier = new Applier({
    stream: { acknowledge: (lsn) => acknowledged.push(lsn), wake() {} },
    tables,
    transaction: {
      write: (statements, end) =>
        new Promise((resolve, reject) => {
          writes.push({
            statements,
            end,
            succeed() {
              resolve({ checked: Promise.resolve([]), durable: Promise.resolve() })
              return settle()
            },
            fail(error) {
              reject(error)
              return settle()
            },
          })
        }),
    },
    appliedLsn,
    onIgnored: ({ name }) => ignored.push(name),
    onMissed() {},
  })
  return { applier, acknowledged, writes, ignored }
}

const begin = (finalLsn: Lsn): PgoutputMessage => ({ kind: 'begin', finalLsn, commitTime: Number(finalLsn), xid: 1 })
const insert = (value: string, relation = 1): PgoutputMessage => ({
  kind: 'insert',
  relation,
  row: tupleOf([value]),
  bytes: 30,
})
const commit = (endLsn: Lsn): PgoutputMessage => ({ kind: 'commit', commitLsn: endLsn - 10n, endLsn, commitTime: 0 })
const keepalive = (walEnd: Lsn): { kind: 'keepalive'; walEnd: Lsn } => ({ kind: 'keepalive', walEnd })

async function handle(applier: Applier, ...messages: Parameters<Applier['handle']>[0][]): Promise<void> {
  for (const message of messages) await applier.handle(message)
}

test('a keepalive is acknowledged only when nothing is half read, collected or being written', async () => {
  const { applier, acknowledged, writes } = applierOf(100n)
  await handle(applier, keepalive(150n))
  expect(acknowledged).toEqual([150n])
  await handle(applier, begin(200n), keepalive(195n), insert('1'), keepalive(199n), commit(210n), keepalive(300n))
  expect(acknowledged).toEqual([150n])
  await applier.writeWhenIdle()
  await handle(applier, keepalive(400n))
  expect(acknowledged).toEqual([150n])
  // Of the next transaction nothing is durable yet, so that only what lies before it may be acknowledged.
  await handle(applier, begin(500n), insert('2'), keepalive(499n), commit(510n), keepalive(600n))
  await writes[0]!.succeed()
  expect(writes[0]!.end).toMatchObject({ endLsn: 210n })
  expect(acknowledged).toEqual([150n, 400n])
  expect(applier.isIdle).toBe(false)
  await applier.writeWhenIdle()
  await writes[1]!.succeed()
  expect(acknowledged).toEqual([150n, 400n, 600n])
  expect(applier.isIdle).toBe(true)
})

test('what has failed is never acknowledged, and nothing is written after it', async () => {
  const { applier, acknowledged, writes } = applierOf(100n)
  await handle(applier, begin(200n), insert('1'), commit(210n))
  await applier.writeWhenIdle()
  await handle(applier, begin(220n), insert('2'), commit(230n), keepalive(300n))
  await writes[0]!.fail(new Error('refused'))
  await expect(applier.writeWhenIdle()).rejects.toThrow('refused')
  await expect(applier.finish()).rejects.toThrow('refused')
  expect(writes).toHaveLength(1)
  expect(acknowledged).toEqual([])
})

test('a change is applied when its transaction commits at or after the point of its table', async () => {
  const { applier, acknowledged, writes, ignored } = applierOf(10n)
  await handle(applier, begin(POINT - 1n), insert('before'), commit(POINT))
  expect(acknowledged).toEqual([POINT])
  await handle(applier, begin(POINT), insert('at'), insert('elsewhere', 2), commit(POINT + 10n))
  await applier.writeWhenIdle()
  expect(writes).toHaveLength(1)
  expect(writes[0]!.end).toEqual({
    endLsn: POINT + 10n,
    counts: { inserts: 1, updates: 0, deletes: 0, truncates: 0, transactions: 1 },
  })
  expect(ignored).toEqual(['other'])
})

test('transactions that end at or before the applied LSN are passed over, the next one is not', async () => {
  const { applier, writes } = applierOf(300n)
  await handle(applier, begin(250n), insert('1'), commit(290n), begin(290n), insert('2'), commit(300n))
  expect(applier.isIdle).toBe(true)
  await handle(applier, begin(300n), insert('3'), commit(310n))
  await applier.writeWhenIdle()
  expect(writes.map(({ end }) => end?.endLsn)).toEqual([310n])
})

test('a large transaction is written in parts, and its end comes with the last one', async () => {
  const { applier, acknowledged, writes } = applierOf(100n)
  await handle(applier, begin(200n))
  const feeding = (async () => {
    for (let i = 0; i < 50_000; i++) await applier.handle(insert(String(i)))
    await handle(applier, commit(900n))
  })()
  for (let part = 0; part < 3; part++) {
    await expect.poll(() => writes.length).toBe(part + 1)
    expect(applier.position).toBe(100n)
    await writes[part]!.succeed()
  }
  await feeding
  expect(writes.map(({ end }) => end)).toEqual([
    undefined,
    undefined,
    { endLsn: 900n, counts: { inserts: 50_000, updates: 0, deletes: 0, truncates: 0, transactions: 1 } },
  ])
  expect(acknowledged).toEqual([900n])
})

test('rows that are passed over count for the memory of the rows beside them', async () => {
  const { applier, writes } = applierOf(100n)
  const passedOver = { ...insert('elsewhere', 2), bytes: 9 * 2 ** 20 } as PgoutputMessage
  await handle(applier, begin(200n), passedOver, insert('1'))
  expect(writes).toHaveLength(0)
  await handle(applier, passedOver, insert('2'))
  expect(writes.map(({ end }) => end)).toEqual([undefined])
})

test('messages that can not come are protocol violations', () => {
  expect(() => applierOf(0n).applier.handle(insert('1'))).toThrow(/ not understood/)
  expect(() => applierOf(0n).applier.handle(commit(1n))).toThrow(/ not understood/)
  const { applier } = applierOf(0n)
  void applier.handle(begin(1n))
  expect(() => applier.handle(begin(2n))).toThrow(/ not understood/)
  expect(() => applier.handle(insert('1', 99))).toThrow(/unknown relation 99/)
  expect(() => applier.handle({ kind: 'streamStop' })).toThrow(/unasked/)
})
