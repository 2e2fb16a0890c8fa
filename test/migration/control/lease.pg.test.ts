import { afterAll, beforeAll, expect, test } from 'vitest'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { acquireLease, checkFence } from '../../../migration/control/lease.ts'
import {
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

let pair: ServerPair
let migration: TestMigration

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await createTargetDatabase(pair, 'leases')
  migration = await createTestMigration(pair, 'leases')
  await using target = await migration.context.target('test')
  await createControlSchema(target, migration.context.key)
})

afterAll(async () => {
  await migration?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

test('a second copy does not get the lease while the first one is alive', async () => {
  await using first = await migration.context.target('first')
  await using second = await migration.context.target('second')
  await using lease = await acquireLease(first, 'alive')
  expect(lease?.fence).toBe('1')
  expect(await acquireLease(second, 'alive')).toBeUndefined()
})

test('a holder whose session is gone is replaced at once, with a greater fence', async () => {
  const first = await migration.context.target('first')
  const lost = await acquireLease(first, 'crashed')
  await first.end()
  await using second = await migration.context.target('second')
  await expect.poll(async () => (await acquireLease(second, 'crashed'))?.fence).toBe('2')
  await expect(checkFence(second, lost!)).rejects.toMatchObject({ code: 'LeaseLost' })
})

test('a holder that is frozen in mid-transaction is ended when its lease has expired, and commits nothing', async () => {
  await using first = await migration.context.target('first')
  await using applying = await migration.context.target('applying')
  const lease = (await acquireLease(first, 'frozen'))!
  await lease.addSession(applying)
  await applying.query('begin')
  await checkFence(applying, lease)
  await applying.query(`insert into pgflex.step (name) values ('zombie')`)
  await using admin = await pair.target.connect('leases')
  await using second = await migration.context.target('second')
  expect(await acquireLease(second, 'frozen')).toBeUndefined()
  await admin.query(`update pgflex.lease set expires_at = now() - interval '1 second' where name = 'frozen'`)
  const successor = await acquireLease(second, 'frozen')
  expect(successor?.fence).toBe('2')
  await expect(applying.query('commit')).rejects.toThrow(/terminat|not queryable/i)
  const { rows } = await admin.query(`select from pgflex.step where name = 'zombie'`)
  expect(rows).toHaveLength(0)
})
