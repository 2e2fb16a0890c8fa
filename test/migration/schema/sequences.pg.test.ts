import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareSequences, copySequences } from '../../../migration/schema/sequences.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
} from '../../support/servers.ts'

const SEQUENCES = `
  create schema "s.""1";
  create sequence "s.""1"."Se.q 'x' %";
  create sequence descending increment -1 minvalue -9223372036854775808 maxvalue 9223372036854775807 start 0;
  create sequence untouched start 42;
  create table t (id serial, i bigint generated always as identity, s smallserial);
  create schema pgflex; create sequence pgflex.own;
  do $$ begin for n in 1..250 loop execute format('create sequence many_%s', n); end loop; end $$;
`

const VALUES = `
  select setval('"s.""1"."Se.q ''x'' %"', 9223372036854775807);
  select setval('descending', -9223372036854775808);
  select setval('t_id_seq', 5, false), setval('t_i_seq', 77), setval('t_s_seq', 32767), setval('pgflex.own', 8);
  do $$ begin for n in 1..250 loop perform setval('many_' || n, n, n % 2 = 0); end loop; end $$;
`

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('every sequence is set exactly as on the source, and what differs is told', async () => {
  await createSourceDatabase(pair, 'counters', SEQUENCES + VALUES + 'create sequence only_here')
  await createTargetDatabase(pair, 'counters')
  await using migration = await createTestMigration(pair, 'counters')
  await using source = await migration.context.source('test')
  await using target = await migration.context.target('test')
  await target.query(`set search_path = public; ${SEQUENCES}; create sequence only_there`)
  await target.query(`select setval('many_1', 999)`)

  const before = await compareSequences(source, target)
  expect(before).toContainEqual({ name: '"public"."many_1"', source: '1, not called', target: '999, called' })
  expect(before).toContainEqual({ name: '"public"."t_i_seq"', source: '77, called', target: '1, not called' })
  expect(before.map(({ name }) => name)).not.toContain('"public"."untouched"')

  const missing = [
    { name: '"public"."only_here"', source: '1, not called', target: 'missing' },
    { name: '"public"."only_there"', source: 'missing', target: '1, not called' },
  ]
  expect(await copySequences(source, target)).toEqual({ sequences: 256 })
  expect(await compareSequences(source, target)).toEqual(missing)
  expect(await copySequences(source, target)).toEqual({ sequences: 256 })
  expect(await compareSequences(source, target)).toEqual(missing)
  expect((await source.query(`select nextval('public.t_id_seq') as n`)).rows).toEqual([{ n: '5' }])
  expect((await target.query(`select nextval('public.t_id_seq') as n`)).rows).toEqual([{ n: '5' }])
})

test('a filter leaves the other sequences alone', async () => {
  await createSourceDatabase(pair, 'filtered', `create sequence a start 5; create sequence b start 5`)
  await createTargetDatabase(pair, 'filtered')
  await using migration = await createTestMigration(pair, 'filtered')
  await using source = await migration.context.source('test')
  await using target = await migration.context.target('test')
  await target.query('create sequence public.a; create sequence public.b')
  expect(await copySequences(source, target, (_, name) => name === 'a')).toEqual({ sequences: 1 })
  expect(await compareSequences(source, target)).toEqual([
    { name: '"public"."b"', source: '5, not called', target: '1, not called' },
  ])
})
