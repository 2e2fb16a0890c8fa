import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareDatabases } from '../../demo/compare.ts'
import { createSampleDatabase } from '../../demo/sample-database.ts'
import { startServers } from '../../demo/sample-servers.ts'

let servers: Awaited<ReturnType<typeof startServers>>

beforeAll(async () => {
  servers = await startServers({ sourceMajor: 15, targetMajor: 17 })
  for (const server of [servers.source, servers.target]) {
    {
      await using admin = await server.connect()
      await admin.query('create database shop')
    }
    await using shop = await server.connect('shop')
    await createSampleDatabase(shop, 'shop')
  }
})

afterAll(async () => {
  await servers?.[Symbol.asyncDispose]()
})

const CHANGES: [string, string, string][] = [
  [
    'a changed value',
    `update shop.country set name = name || '!' where code = 'AA'`,
    'table "shop"."country": the content',
  ],
  ['a row less', `delete from shop.page_view where url = '/product/7'`, 'table "shop"."page_view": 5000 rows'],
  ['NULL for an empty text', `insert into shop.cart values (md5('x')::uuid, 1, 1, '', now())`, 'table "shop"."cart"'],
  ['a sequence that is one ahead', `select nextval('shop.invoice_number')`, 'sequence "shop"."invoice_number"'],
  [
    'a sequence that was not called',
    `select setval('shop.invoice_number', 28993, false)`,
    'sequence "shop"."invoice_number"',
  ],
  ['a missing table', 'drop table shop.media', 'table missing on the target: "shop"."media"'],
  ['a missing index', 'drop index shop.customer_name', 'object missing on the target: index shop.customer_name'],
  [
    'a trigger that is off',
    'alter table shop.stock disable trigger stock_audit',
    'trigger stock_audit of shop.stock enabled D',
  ],
  ['a lost replica identity', 'alter table shop.cart replica identity default', 'relation shop.cart kind r'],
  ['a column that may be null', 'alter table shop.shelf alter label set not null', 'column label of shop.shelf'],
  ['a table too many', 'create table shop.extra ()', 'table only on the target: "shop"."extra"'],
]

test('two equal databases are equal', async () => {
  await using source = await servers.source.connect('shop')
  await using target = await servers.target.connect('shop')
  expect(await compareDatabases(source, target)).toMatchObject({ equal: true, tables: 25, differences: [] })
})

test.each(CHANGES)('%s is found', async (_, change, difference) => {
  await using source = await servers.source.connect('shop')
  await using target = await servers.target.connect('shop')
  // Sequences don't roll back: their state is put back by hand.
  const { rows } = await target.query<{ last_value: string }>('select last_value from shop.invoice_number')
  await target.query('begin')
  await target.query(change)
  const comparison = await compareDatabases(source, target)
  await target.query('rollback')
  await target.query(`select setval('shop.invoice_number', $1)`, [rows[0]!.last_value])
  expect(comparison.equal).toBe(false)
  expect(comparison.differences.join('\n')).toContain(difference)
})
