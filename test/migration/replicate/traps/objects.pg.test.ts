import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { id, literal } from '../../../../migration/sql.ts'
import { sourceObjects } from '../../../../migration/replicate/slot-name.ts'
import { loosenIdentityColumns } from '../../../../migration/schema/identity-columns.ts'
import { readDatabaseStatus } from '../../../../migration/store/migrations.ts'
import { startServerPair, TARGET_USER, type ServerPair } from '../../../support/servers.ts'
import { startFollowing, type Following } from '../following.ts'
import { catchUpOrMend, expectExact, expectSame } from './exact.ts'

describe.each([
  [15, 17],
  [13, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('trap 34: rows move between partitions of any depth, and partitions come and go', async () => {
    await using following = await startFollowing(pair, 'trap_34', {
      ddl: `create table m (id int, k int, at date not null, v text, primary key (id, k, at)) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2024-07-01');
            create table m_2 partition of m for values from ('2024-07-01') to ('2025-01-01') partition by list (k);
            create table m_2_a partition of m_2 for values in (1, 2); create table m_2_d (v text, at date not null, dropped int, k int not null, id int not null);
            alter table m_2_d drop column dropped; alter table m_2 attach partition m_2_d default;
            create table h (id int, v text) partition by hash (id); create table h_0 partition of h for values with (modulus 2, remainder 0); create table h_1 partition of h for values with (modulus 2, remainder 1);
            alter table h_0 replica identity full; alter table h_1 replica identity full;
            create table spare (id int, k int, at date not null, v text, primary key (id, k, at))`,
    })
    const { app } = following
    await app.query(
      `insert into m select g, g % 4, date '2024-01-01' + g * 10, 'v' from generate_series(0, 35) g; insert into h select g % 5, 'v' from generate_series(1, 20) g`,
    )
    await expectExact(following)
    await app.query(`begin; update m set at = date '2024-12-31' - (at - date '2024-01-01'); update m set k = (k + 1) % 4; update m set v = v || '!', id = id + 100 where at < '2024-07-01'; delete from m where id % 7 = 0; commit;
      begin; update h set id = id + 1; update h set v = 'w' where ctid = '(0,1)'; delete from h where id = 3; commit`)
    await app.query(
      `begin; update m set at = '2024-01-02' where id = 1; update m set at = '2024-12-02' where id = 1; update m set at = '2024-01-03', k = 9 where id = 1; commit`,
    )
    await expectExact(following)
    // What is attached or taken off goes on under its own name.
    await app.query(`alter table m detach partition m_1; insert into m_1 values (1000, 1, '2030-01-01', 'free'); update m_1 set v = 'free' where id > 100; insert into spare values (7, 1, '2025-02-01', 's');
      alter table m attach partition spare for values from ('2025-01-01') to ('2026-01-01'); update m set v = 'attached' where at > '2025-01-01'; insert into m values (8, 1, '2025-03-01', 'through the root')`)
    // While the target has it attached, a row that is not allowed there stops by name, and goes on when that is mended.
    const words = { message: expect.stringContaining('public.m_1') }
    await catchUpOrMend(following, words, 'alter table public.m detach partition public.m_1')
    for (const table of ['m_1', 'm_2_a', 'm_2_d', 'spare', 'h_0', 'h_1']) {
      await expectSame(following, `select t::text from only public.${table} t order by 1`)
    }
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('traps 37, 38, 39: nothing of the source fires or checks twice, where the role may switch that off and where it may not', async () => {
    const schema = `create table t (id int primary key, v text); create table audit (n int generated always as identity primary key, what text); create table child (id int primary key, t int);
      create table ruled (id int primary key, v text)`
    const guards = `create function log_() returns trigger language plpgsql as $$ begin insert into public.audit (what) values (tg_op || coalesce(new.id, old.id)); return coalesce(new, old); end $$;
      create function double_() returns trigger language plpgsql as $$ begin new.v := new.v || new.v; return new; end $$;
      create trigger log_ after insert or update or delete on t for each row execute function log_(); create trigger double_ before insert or update on t for each row execute function double_();
      create trigger emptied after truncate on t for each statement execute function log_();
      alter table child add foreign key (t) references t on delete cascade deferrable initially deferred`
    const always = `alter table t enable always trigger log_; create rule also as on insert to ruled do also insert into audit (what) values ('ruled'); alter table ruled enable always rule also`
    const work = `begin; insert into child values (1, 1), (2, 2); insert into t values (1, 'a'), (2, 'b'); commit; update t set v = 'c' where id = 1; insert into ruled values (1, 'r');
      begin; delete from t where id = 2; insert into child values (3, 3); insert into t values (3, 'x'); commit`
    // Triggers, rules and foreign keys come to the target at cutover; see post-data-order.ts.
    await using plain = await startFollowing(pair, 'trap_37', { ddl: schema, sourceDdl: `${guards}; ${always}` })
    await plain.app.query(work)
    await expectExact(plain)
    expect(await plain.onTarget('select count(*) from public.audit')).toBe('6')
    if (targetMajor < 15) return
    // What a user has put there already is silent when the role may set session_replication_role.
    await using admin = await pair.target.connect()
    await admin.query(`grant set on parameter session_replication_role to ${TARGET_USER}`)
    try {
      await using granted = await startFollowing(pair, 'trap_39', {
        ddl: `${schema}; ${guards}`.replace(
          'create trigger emptied after truncate on t for each statement execute function log_();',
          '',
        ),
      })
      await granted.app.query(work)
      await expectExact(granted)
      expect(await granted.onTarget('select count(*) from public.audit')).toBe('5')
    } finally {
      await admin.query(`revoke set on parameter session_replication_role from ${TARGET_USER}`)
    }
  })

  test('trap 40: the role of the target may not set session_replication_role, and all of this works', async () => {
    await using following = await startFollowing(pair, 'trap_40', { ddl: 'create table t (id int primary key)' })
    await using target = await following.context.target('test')
    await expect(target.query('set session_replication_role = replica')).rejects.toMatchObject({ code: '42501' })
    await following.app.query('insert into t values (1)')
    await expectExact(following)
  })

  test('trap 57: names with quotes, percents, line ends, backslashes, dots, commas, capitals, 63 bytes and of other scripts', async () => {
    const hostile = [
      `a"b`,
      `'; drop table t; --`,
      `%s %I %1$s`,
      `line\nend\ttab\rreturn`,
      `back\\slash\\`,
      `a.b,c`,
      `MiXeD`,
      'n'.repeat(63),
      'é'.repeat(31),
      '表𝄞',
      ' ',
      '$1',
      '""',
      `{}"`,
      `E'\\x41'`,
      'user',
      '-- ',
      '/*',
      `"quoted"`,
      `pg flex`,
      `nul\u0001`,
    ]
    const database = `Da"ta b\\a%s'e`
    await using following = await startFollowing(pair, database, {
      ddl: hostile
        .flatMap((name, n) => [
          `create schema ${id(name)}`,
          `create type ${id(name, `t ${n}`)} as enum (${literal(name)}, 'other')`,
          `create table ${id(name, name)} (${id(name)} int primary key, ${id(`${n}`)} ${id(name, `t ${n}`)}, v text)`,
          `create table ${id(name, `f ${n}`)} (${id(name)} text, n int); alter table ${id(name, `f ${n}`)} replica identity full`,
          ...(n % 2
            ? [
                `create unique index ${id(name)} on ${id(name, name)} (${id(name)})`
                  .replace('unique index', `unique index`)
                  .replace(id(name), id(`i ${n}`)),
                `alter table ${id(name, name)} replica identity using index ${id(`i ${n}`)}`,
              ]
            : []),
        ])
        .join(';'),
    })
    const { app } = following
    for (const [n, name] of hostile.entries()) {
      const [table, full] = [id(name, name), id(name, `f ${n}`)]
      await app.query(`insert into ${table} values (1, ${literal(name)}, 'v'), (2, null, 'v'), (3, 'other', 'v'); insert into ${full} select ${literal(name)}, g % 2 from generate_series(1, 4) g;
        update ${table} set v = 'w' where ${id(name)} = 1; update ${table} set ${id(name)} = 4 where ${id(name)} = 2; delete from ${table} where ${id(name)} = 3; delete from ${full} where ctid = (select min(ctid) from ${full})`)
    }
    await expectExact(following)
    await app.query(
      `truncate ${hostile
        .slice(0, 7)
        .map((name) => id(name, name))
        .join(', ')}; truncate ${id('表𝄞', '表𝄞')}`,
    )
    await expectExact(following)
  })

  test('trap 57: names that our own statements use, and those of built-in types', async () => {
    await using following = await startFollowing(pair, 'trap_57_own', {
      ddl: `create type date as enum ('never'); create type "integer" as (a int); create domain text as pg_catalog.text check (value <> 'x'); create schema pg; create schema unnest;
            create table v (v int primary key, t public.text, c0 public.date, c1 "integer", "only" pg_catalog.text, "set" int, format pg_catalog.text, "values" int);
            create table t (c0 int, c1 int, t int, v int, "excluded" int, n int, primary key (c1, c0)); create table unnest.unnest (unnest int primary key, format int);
            create table pg.class (format pg_catalog.text, t public.date, v "integer"); alter table pg.class replica identity full`,
    })
    const { app } = following
    await app.query(`insert into v values (1, 'a', 'never', '(1)', 'o', 2, 'f', 3); insert into v (v, t) values (2, 'b'); update v set t = 'c', format = null; update v set v = 3 where v = 2; delete from v where v = 1;
      insert into t values (1, 2, 3, 4, 5, 6), (2, 3, 4, 5, 6, 7); insert into t (c0, c1, t, v) values (5, 6, 7, 8); update t set v = 7, t = 8; update t set c0 = c1, c1 = c0; delete from t where c0 = 3; insert into unnest.unnest values (1, 2), (2, 3); update unnest.unnest set format = 4; delete from unnest.unnest where unnest = 1;
      insert into pg.class select 'f', 'never', '(1)' from generate_series(1, 3); update pg.class set format = 'g' where ctid = '(0,1)'; delete from pg.class where ctid = '(0,2)'`)
    await expectExact(following)
  })

  test('trap 35: the publications list the tables one by one, made by a role that is no superuser', async () => {
    await using following = await startFollowing(pair, 'trap_35', {
      ddl: `create table "a""b" (id int primary key); create table keyless (v text)`,
    })
    await following.app.query(`insert into "a""b" values (1); insert into keyless values ('v')`)
    await expectExact(following)
    await using admin = await pair.source.connect('trap_35')
    const { rows } = await admin.query(
      `select p.puballtables, r.rolsuper, (select count(*)::int from pg_publication_rel where prpubid = p.oid) as tables from pg_publication p join pg_roles r on r.oid = pubowner order by pubname`,
    )
    expect(rows).toEqual(Array(2).fill({ puballtables: false, rolsuper: false, tables: 1 }))
  })

  test.runIf(sourceMajor >= 15)('trap 56: the two sides may sort differently', async () => {
    await using following = await startFollowing(pair, 'trap_56', {
      sourceClauses: `template template0 locale_provider icu icu_locale 'sv-SE' lc_collate 'C' lc_ctype 'C'`,
      targetClauses: `template template0 locale_provider libc lc_collate 'C' lc_ctype 'C'`,
      ddl: `create table t (k text primary key, v text); create table f (k text, v varchar(9)); alter table f replica identity full`,
    })
    const { app } = following
    const words = `(values ('a'), ('B'), ('b'), ('å'), ('ä'), ('z'), ('Z'), ('\u0061\u030a'), (''), (' a')) w (k)`
    await app.query(
      `insert into t select k from ${words}; insert into f select k from ${words}, generate_series(1, 2)`.replaceAll(
        `'\\u`,
        `E'\\u`,
      ),
    )
    await app.query(`begin; update t set v = 'w' where k < 'b'; update t set k = k || '!' where k > 'ö' or k = 'B'; delete from t where k between 'a' and 'b'; commit;
      update f set v = 'w' where ctid in (select min(ctid) from f group by k); delete from f where k > 'z' and v is null`)
    await expectExact(following)
  })

  test('identity, serial and generated columns have the values of the source', async () => {
    await using following = await startFollowing(pair, 'identity', {
      ddl: `create table a (id int generated always as identity primary key, b int generated by default as identity (start 100), c serial, n int, g int generated always as (n * 2) stored, h text generated always as ('v' || n) stored);
            create table k (id int generated always as identity, v text); alter table k replica identity full; create table d (id int primary key default 7, v text default 'default', at timestamptz default clock_timestamp())`,
    })
    const { app } = following
    {
      await using target = await following.context.target('test')
      // As prepareDatabase does.
      await loosenIdentityColumns(target)
    }
    await app.query(`insert into a (n) select g from generate_series(1, 9) g; insert into a overriding system value values (1000, 1, 1, null); update a set n = n + 1 where id > 5; update a set id = default where id = 1; delete from a where id = 2;
      insert into k (v) select 'v' from generate_series(1, 4); update k set v = 'w' where id = 1; update k set id = default where id = 2; delete from k where id = 3; insert into d default values; insert into d values (1, null, null); update d set v = null`)
    await expectExact(following)
  })

  test('inherited tables are followed each by itself', async () => {
    await using following = await startFollowing(pair, 'inheritance', {
      ddl: `create table base (id int primary key, v text); create table a (extra int, primary key (id)) inherits (base); create table b (v text, more text, primary key (id)) inherits (a); create table other (n int); create table two (primary key (id)) inherits (base, other)`,
    })
    const { app } = following
    await app.query(
      `insert into base values (1, 'v'), (2, 'v'); insert into a values (1, 'v', 1), (3, 'v', 1); insert into b values (1, 'v', 1, 'm'), (4, 'v', null, null); insert into two values (1, 'v', 5)`,
    )
    await app.query(
      `update base set v = v || id; update only base set v = 'only' where id = 1; delete from a where id = 1; update base set id = id + 10 where id > 2; delete from only base where id = 2; truncate only a; truncate two`,
    )
    await expectExact(following)
  })

  test('trap 24: a column that is new on the source is carried over, or stops the migration by name: nothing is lost in silence', async () => {
    await using following = await startFollowing(pair, 'trap_24', {
      ddl: 'create table t (id int primary key, v text)',
    })
    const { app } = following
    await app.query(`insert into t values (1, 'v')`)
    await expectExact(following)
    await app.query(
      `begin; insert into t values (2, 'before'); alter table t add extra int default 5; insert into t values (3, 'after', 6); update t set extra = 7 where id = 1; commit`,
    )
    const words = { code: 'SchemaChanged', message: expect.stringContaining('public.t') }
    await catchUpOrMend(following, words, 'alter table public.t add extra int default 5')
    await expectExact(following)
  })

  test('trap 50: time-outs that the source sets for its sessions do not end ours, also while the slot waits', async () => {
    await using admin = await pair.source.connect()
    const settings = [
      'statement_timeout',
      'lock_timeout',
      'idle_in_transaction_session_timeout',
      ...(sourceMajor >= 14 ? ['idle_session_timeout'] : []),
    ]
    for (const name of settings) await admin.query(`alter role migrator set ${name} = '60ms'`)
    await admin.query('begin; select pg_current_xact_id()')
    try {
      const waits = startFollowing(pair, 'trap_50', { ddl: 'create table t (id int primary key)' })
      waits.catch(() => {})
      await using watcher = await pair.source.connect()
      await expect
        .poll(
          async () =>
            (
              await watcher.query(
                `select from pg_stat_activity where application_name = 'pgflex slot' and now() - query_start > interval '200 ms' and state = 'active'`,
              )
            ).rows.length,
          { timeout: 20_000 },
        )
        .toBe(1)
      await admin.query('commit')
      await using following: Following = await waits
      const slice = following.slice({ ms: 400 })
      await following.app.query('insert into t values (1)')
      expect((await slice).reason).toBe('time')
      await expectExact(following)
      const { slot } = sourceObjects(following.context.key, 'trap_50')
      expect((await readDatabaseStatus(following.context.documents, following.context.key, 'trap_50')).slot?.name).toBe(
        slot,
      )
    } finally {
      await admin.query('commit')
      for (const name of settings) await admin.query(`alter role migrator reset ${name}`)
    }
  })
})
