import { afterAll, beforeAll, expect, test } from 'vitest'
import { cutoverDatabase } from '../../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../../migration/cutover/end-database.ts'
import { copyTables } from '../../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../../migration/replicate/create-slot.ts'
import { follow } from '../../../../migration/replicate/follow.ts'
import { buildIndexes } from '../../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../../migration/schema/prepare-database.ts'
import { updateRecord } from '../../../../migration/store/migrations.ts'
import {
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
} from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'
import { expectExact, expectSame } from './exact.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const encoded = (encoding: string): string => `template template0 encoding '${encoding}' lc_collate 'C' lc_ctype 'C'`

test.each([
  ['LATIN1', 'UTF8'],
  ['LATIN1', 'LATIN1'],
  ['EUC_JP', 'UTF8'],
  ['UTF8', 'LATIN1'],
])('trap 27: text and names of a source in %s arrive on a target in %s', async (source, target) => {
  const [word, name] = source === 'EUC_JP' ? ['日本語', '表'] : ['Grüße à £ÿ', 'Größe']
  await using following = await startFollowing(pair, `trap_27_${source}_${target}`.toLowerCase(), {
    sourceClauses: encoded(source),
    targetClauses: encoded(target),
    ddl: `create type "T ${name}" as enum ('${word}', 'b');
          create table "${name}" ("${name}" text primary key, v text, js json, "e ${name}" "T ${name}", c "char");
          create table f (v text, js jsonb, n int); alter table f replica identity full`,
  })
  const { app } = following
  await app.query(`insert into "${name}" values ('${word}', '${word}', '{"${name}": "${word}"}', '${word}'), ('${name}', repeat('${word}', 30000), null, 'b');
    insert into f select '${word}', '{"${name}": "${word}"}', 0 from generate_series(1, 3)`)
  await app.query(
    `begin; select pg_logical_emit_message(true, '${name}', '${word}'); update "${name}" set c = 'x', v = v || '${word}' where "${name}" = '${word}'; commit`,
  )
  await app.query(`update "${name}" set "${name}" = "${name}" || '${word}' where "${name}" = '${name}'; update f set n = 1 where ctid = '(0,1)';
    delete from f where ctid = '(0,2)'`)
  await expectExact(following)
  expect(await expectSame(following, `select v from public.f order by n`)).toEqual([{ v: word }, { v: word }])
})

/** Text of a SQL_ASCII database in another encoding than UTF-8, as an old client has left it there. */
const BYTES = `convert_from('\\x4772fcdf6580ff'::bytea, 'SQL_ASCII')`

test('trap 27: the bytes of a SQL_ASCII source arrive unchanged on a SQL_ASCII target, also as keys', async () => {
  await using following = await startFollowing(pair, 'trap_27_bytes', {
    sourceClauses: encoded('SQL_ASCII'),
    targetClauses: encoded('SQL_ASCII'),
    ddl: `create table k (a text, b varchar(30), v text, primary key (a, b)); create table big (id int primary key, v text);
          create table f (v text, a text[], c "char", n int); alter table f replica identity full`,
  })
  const { app } = following
  await app.query(`insert into k select ${BYTES}, 'é' || g, repeat(${BYTES}, g) from generate_series(1, 5) g; insert into k values ('plain', 'p', 'v');
    insert into big values (1, repeat(${BYTES}, 30000)), (2, repeat('plain', 30000));
    insert into f select ${BYTES}, array[${BYTES}, null], '\\377', 0 from generate_series(1, 3)`)
  await app.query(`update k set v = null where b = 'é1'; update k set b = b || ${BYTES} where b = 'é2'; delete from k where b = 'é3';
    update f set n = 1 where ctid = '(0,1)'; delete from f where ctid = '(0,2)'; update big set v = v || ${BYTES}`)
  await following.catchUp()
  const bytes = (column: string): string => `convert_to(${column}, 'SQL_ASCII') as ${column}`
  expect(
    await expectSame(following, `select ${bytes('a')}, ${bytes('b')}, ${bytes('v')} from public.k order by k::text`),
  ).toHaveLength(5)
  await expectSame(following, `select id, md5(v) from public.big order by id`)
  await expectSame(following, `select ${bytes('v')}, md5(a::text), ascii(c::text), n from public.f order by n`)
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
})

test('trap 27: text of a SQL_ASCII source arrives on a UTF8 target when it is UTF-8, and stops by name when it is not', async () => {
  await using following = await startFollowing(pair, 'trap_27_utf8', {
    sourceClauses: encoded('SQL_ASCII'),
    ddl: `create table "Größe" (id int primary key, v text)`,
  })
  const { app } = following
  await app.query(`insert into "Größe" values (1, 'Grüße'), (2, 'v')`)
  await expectExact(following)
  await app.query(`update "Größe" set v = 'Äpfel' where id = 1; insert into "Größe" values (3, ${BYTES})`)
  await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({
    code: 'ApplyRefused',
    message: expect.stringMatching(/public\.Größe.*22021/),
  })
  expect(await following.onTarget('select max(id) from public."Größe"')).toBe('2')
  expect(await following.onTarget(`select v from public."Größe" where id = 1`)).toBe('Grüße')
})

test('trap 27: a SQL_ASCII database is migrated as a whole: copied, followed, cut over and compared', async () => {
  const database = 'whole_bytes'
  await createSourceDatabase(
    pair,
    database,
    `create table t (id int primary key, v text, c "char"); insert into t select g, ${BYTES} || g, '\\377' from generate_series(1, 9) g;
     create table keyless (v text); insert into keyless values (${BYTES})`,
    encoded('SQL_ASCII'),
  )
  await using migration = await createTestMigration(pair, database, { pgflex: { verify: 'Checksums' } })
  const { context } = migration
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ copied: 2, errored: 0, remaining: 0 })
  await buildIndexes(context)
  await using app = await pair.source.connect(database)
  await app.query(`update t set v = v || ${BYTES} where id < 4; update keyless set v = v || 'x'`)
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { [database]: { at: new Date().toISOString(), force: false } } },
  }))
  expect(await follow(context)).toEqual({ next: 'cutover' })
  expect(await cutoverDatabase(context)).toEqual({ next: 'finished' })
  await using target = await pair.target.connect(database)
  const md5 = `select string_agg(md5(v), ' ' order by id) as t, (select md5(v) from public.keyless) as k from public.t`
  expect((await target.query(md5)).rows).toEqual((await app.query(md5)).rows)
  await endDatabase(context, { state: 'Succeeded' })
})
