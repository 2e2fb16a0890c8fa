import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Connection } from '../../../../migration/connect.ts'
import { acquireLease, type Lease } from '../../../../migration/control/lease.ts'
import { breakOff, prepareApplySession } from '../../../../migration/replicate/apply/apply-session.ts'
import { noChanges } from '../../../../migration/replicate/apply/change-counts.ts'
import type { Statement } from '../../../../migration/replicate/apply/statements.ts'
import { planTable } from '../../../../migration/replicate/apply/table-plan.ts'
import { StatementRefused, TargetTransaction } from '../../../../migration/replicate/apply/target-transaction.ts'
import { sourceObjects } from '../../../../migration/replicate/slot-name.ts'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing, type Following } from '../following.ts'

let pair: ServerPair
let following: Following

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  following = await startFollowing(pair, 'transaction', {
    ddl: `create table t (id int primary key, v text);
          create table later (id int primary key, code int unique deferrable initially deferred)`,
  })
})

afterAll(async () => {
  await following?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

interface Writer extends AsyncDisposable {
  session: Connection
  transaction: TargetTransaction
}

/** What a slice has to write with. */
async function openWriter(): Promise<Writer> {
  const { context } = following
  const leaseSession = await context.target('lease')
  const lease = (await acquireLease(leaseSession, 'replicate')) as Lease
  const session = await context.target('apply')
  await prepareApplySession(session)
  return {
    session,
    transaction: new TargetTransaction(session, lease, sourceObjects(context.key, context.database).slot),
    async [Symbol.asyncDispose]() {
      await session.end()
      await lease[Symbol.asyncDispose]()
      await leaseSession.end()
    },
  }
}

const statement = (sql: string, more: Partial<Statement> = {}): Statement => ({
  sql,
  params: [],
  kind: 'schema',
  expected: 0,
  ...more,
})
const END = { endLsn: 2n ** 50n, counts: noChanges() }

function* copiedRows(megabytes: number): Generator<Buffer> {
  for (let id = 1; id <= megabytes; id++) yield Buffer.from(`${id}\t${'x'.repeat(2 ** 20)}\n`)
}

test('a commit that is refused while the data of the next group is on its way leaves nothing, and a session that is well', async () => {
  await using writer = await openWriter()
  const { session, transaction } = writer
  const { durable } = await transaction.write([statement('insert into public.later values (1, 1), (2, 1)')], END)
  const next = transaction.write([statement('copy public.t from stdin', { copy: copiedRows(64) })], {
    ...END,
    endLsn: END.endLsn + 1n,
  })
  const outcomes = await Promise.allSettled([durable, next])
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected' })
    expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(StatementRefused)
  }
  await transaction.rollback()
  const { rows } = await session.query(
    'select (select count(*) from public.t) as t, (select count(*) from public.later) as later',
  )
  expect(rows).toEqual([{ t: '0', later: '0' }])
})

test('after a change of definitions that was refused, the next one is made', async () => {
  await using writer = await openWriter()
  const { transaction } = writer
  await expect(transaction.alterAlone([statement('alter table public.t add column id int')])).rejects.toThrow(
    StatementRefused,
  )
  await transaction.alterAlone([statement('alter table public.t add column made int')])
  expect(
    await following.onTarget(
      `select count(*) from pg_attribute where attrelid = 'public.t'::regclass and attname = 'made'`,
    ),
  ).toBe('1')
})

test('a session that dies at a commit with missed rows is one failure, and no rejection that nobody handles', async () => {
  await using writer = await openWriter()
  const { session, transaction } = writer
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', listener)
  const columns = [{ name: 'id', key: true, typeOid: 23, typeModifier: -1 }]
  const plan = planTable(
    { oid: 1, schema: 'public', name: 't', replicaIdentity: 'd', columns },
    {
      columns: [{ name: 'id', type: 'integer', generated: false, binaryOid: 23, imageEqual: true }],
      uniqueIndexes: [],
      deferrable: [],
    },
    0n,
    'lastStates',
  )
  try {
    const { checked, durable } = await transaction.write(
      [statement('delete from public.t where id = 99', { plan, kind: 'delete', expected: 1 })],
      END,
    )
    expect(await checked).toHaveLength(1)
    breakOff(session)
    await expect(durable).rejects.toThrow(/terminated/)
    await new Promise((resolve) => setImmediate(resolve))
    expect(unhandled).toEqual([])
  } finally {
    process.off('unhandledRejection', listener)
  }
})
