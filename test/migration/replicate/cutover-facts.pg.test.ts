import { afterAll, beforeAll, expect, test } from 'vitest'
import { cutoverReadiness } from '../../../migration/model/cutover-readiness.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('while following, what a cutover lacks is seen and told, and goes when it is mended', async () => {
  await using following = await startFollowing(pair, 'lacking', {
    ddl: `create table t (id int primary key, v int); create table keyless (v text); create sequence shared;
          create table scratch (id serial)`,
    sourceDdl: 'create sequence alone; create table scratch_2 (id serial)',
    pgflex: { excludeTables: ['public.scratch*'], verify: 'Counts' },
  })
  const { context, app } = following
  await using target = await pair.target.connect('lacking')
  await target.query(
    `insert into pgflex.statement (section, position, kind, schema_name, object_name, table_name, sql, state)
     values ('post-data', 1, 'INDEX',         'public', 'i', 't', '', 'failed'),
            ('post-data', 2, 'CONSTRAINT',    'public', 'c', 't', '', 'pending'),
            ('post-data', 3, 'FK CONSTRAINT', 'public', 'f', 't', '', 'pending'),
            ('post-data', 4, 'TRIGGER',       'public', 'g', 't', '', 'pending'),
            ('post-data', 5, 'INDEX',         'public', 'd', 't', '', 'done')`,
  )
  await app.query('create unlogged table made (id int)')
  await using admin = await pair.source.connect('lacking')
  await admin.query('alter role app in database lacking set default_transaction_read_only = off')
  const facts = async (): Promise<unknown> => {
    const { cutoverFacts } = await readDatabaseStatus(context.documents, context.key, 'lacking')
    return cutoverFacts && { ...cutoverFacts, at: 'then' }
  }
  const seen = async (expected: object): Promise<void> => {
    let done = false
    const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(done) })
    try {
      await expect.poll(facts, { timeout: 20_000 }).toEqual({ at: 'then', ...expected })
    } finally {
      done = true
      await slice
    }
  }
  await seen({
    failedObjects: { count: 1, names: ['INDEX i on public.t'] },
    pendingObjects: { count: 1, names: ['CONSTRAINT c on public.t'] },
    unfollowed: { count: 1, names: ['public.made'] },
    withoutIdentity: { count: 1, names: ['public.keyless'] },
    sequences: 2,
    missingSequences: { count: 1, names: ['public.alone'] },
    freezeObstacles: { count: 1, names: [expect.stringMatching(/^role .* has its own setting/)] },
    longTransactions: { count: 0, names: [] },
  })
  const status = await readDatabaseStatus(context.documents, context.key, 'lacking')
  const open = cutoverReadiness(context.record, status)!.filter(({ ok }) => !ok)
  expect(open.map(({ check }) => check)).toEqual(
    expect.arrayContaining(['indexes and constraints', 'tables followed', 'identity of tables', 'sequences', 'freeze']),
  )

  await admin.query('alter role app in database lacking reset default_transaction_read_only')
  await app.query('drop table made; drop sequence alone; alter table keyless replica identity full')
  await target.query(`update pgflex.statement set state = 'done' where kind in ('INDEX', 'CONSTRAINT')`)
  const none = { count: 0, names: [] }
  await seen({
    failedObjects: none,
    pendingObjects: none,
    unfollowed: none,
    withoutIdentity: none,
    sequences: 1,
    missingSequences: none,
    freezeObstacles: none,
    longTransactions: none,
  })
})
