import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyExtensionTables } from '../../../migration/load/copy-extension-tables.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from '../replicate/following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = `create sequence s; create table top (id int primary key, v text, n numeric(9, 2), b bool, a int[], twice int generated always as (id * 2) stored);
  create table below (top int references top); create table own (id int); create table closed (id int);
  create table narrow (id int); create table large (v text)`

/** As pg_extension_config_dump does in the script of an extension. */
const EXTEND = `create extension citext; ${[
  'sequence s',
  'table top',
  'table below',
  'table own',
  'table closed',
  'table narrow',
  'table large',
]
  .map((object) => `alter extension citext add ${object}`)
  .join(';')};
  update pg_extension
     set extconfig = array['s', 'top', 'below', 'own', 'closed', 'narrow', 'large']::regclass[]::oid[],
         extcondition = array['', 'where id >= 100', '', '', '', '', '']
   where extname = 'citext'`

test('rows of extensions that are the users are carried over, and again; what cannot be is told', async () => {
  await using following = await startFollowing(pair, 'extended', { ddl: DDL })
  const { context } = following
  const onTarget = (sql: string) => following.onTarget(sql)
  await using source = await pair.source.connect('extended')
  await using target = await pair.target.connect('extended')
  await source.query(`${EXTEND}; alter table narrow add column more int;
    insert into top values (1, 'of the source', null, null, null), (100, 'x', 1.5, true, '{1,null}'),
      (101, null, null, null, null), (102, '', null, null, null);
    insert into below values (100); select setval('s', 42);
    insert into own values (1); insert into closed values (1); insert into narrow values (1);
    alter table large alter column v set storage external; insert into large select repeat('x', 9000000)`)
  await target.query(`${EXTEND}; insert into top values (1, 'of the target'); insert into own values (2);
    alter table closed owner to postgres; revoke all on closed from public`)
  const first = await copyExtensionTables(context)
  expect(first.tables).toBe(2)
  const rows = `select string_agg(t::text, ' ' order by id) from public.top t`
  const copied = `(100,x,1.50,t,"{1,NULL}",200) (101,,,,,202) (102,"",,,,204)`
  expect(await onTarget(rows)).toBe(`(1,"of the target",,,,2) ${copied}`)
  expect(await onTarget('select last_value from public.s')).toBe('42')
  const told = first.warnings.map((warning) => / to (\S+) of extension citext .*: (.*?)\. Add/.exec(warning)?.slice(1))
  expect(told).toEqual([
    ['public.own', 'the target has rows of its own there'],
    ['public.closed', expect.stringMatching(/permission denied/)],
    ['public.narrow', expect.stringMatching(/does not have its column more/)],
    ['public.large', expect.stringMatching(/more than 8 MB/)],
  ])
  expect((await context.status({})).warnings).toEqual(expect.arrayContaining(first.warnings))
  await source.query(`delete from below; delete from top where id = 100; update top set v = 'changed' where id = 101;
    insert into below values (102)`)
  const again = await copyExtensionTables(context)
  expect(again.warnings).toEqual(first.warnings)
  expect(await onTarget(rows)).toBe(`(1,"of the target",,,,2) (101,changed,,,,202) (102,"",,,,204)`)
  expect(await onTarget('select string_agg(top::text, $$ $$) from public.below')).toBe('102')
  expect((await copyExtensionTables(context)).tables).toBe(0)
})
