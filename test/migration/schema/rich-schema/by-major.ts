/** What each major added for ordinary roles; run after the rest. */
const ADDED: Record<number, string> = {
  14: `
create schema since_14;
create type since_14.spans as range (subtype = float4, multirange_type_name = since_14.many_spans);
create table since_14.packed (id integer primary key, body text, spans since_14.many_spans, many datemultirange);
alter table since_14.packed alter column body set compression pglz;
create function since_14.standard(a integer, b text default 'x') returns text language sql immutable return a::text || b;
create function since_14.atomic(integer) returns setof since_14.packed language sql
  begin atomic; select * from since_14.packed where id = $1; select p.* from since_14.packed p; end;
create procedure since_14.with_out(in a integer, out b integer) language sql begin atomic; select a + 1; end;
create view since_14.aliased as select j.id, q.body from since_14.packed p join since_14.packed q using (id) as j;
create view since_14.searched as with recursive w (id, up) as (select 1, 0 union all select id + 1, id from w where id < 4)
  search depth first by id set place cycle id set looped using trail select id, looped from w;
create statistics since_14.on_expressions (ndistinct, mcv) on (lower(body)), (id % 3), id from since_14.packed;
create statistics since_14.on_expression on (id % 7) from since_14.packed;
create index multiranges on since_14.packed using gist (spans, many);
create index minmax on since_14.packed using brin (id int4_minmax_multi_ops (values_per_range = 16));`,
  15: `
create schema since_15;
create table since_15.keys (id integer primary key, a integer, b integer, unique nulls not distinct (a, b));
create unique index one_null on since_15.keys (b) nulls not distinct;
create table since_15.refers (id integer, a integer, b integer default 3,
  foreign key (a, b) references since_15.keys (a, b) on delete set null (a));
create view since_15.as_invoker with (security_invoker = true) as select * from since_15.keys;
create unlogged sequence since_15.not_logged;
create unlogged table since_15.serials (id serial);
create publication some_rows for table since_15.keys (id, a) where (a > 5);
create collation since_15.english (provider = icu, locale = 'en-US');`,
  16: `
create schema since_16;
create collation since_16.ruled (provider = icu, locale = 'und', rules = '&a < g');`,
  17: `
create schema since_17;
create table since_17.counted (id integer generated always as identity, at date) partition by range (at);
create table since_17.counted_1 partition of since_17.counted for values from (minvalue) to (maxvalue);
create collation since_17.built_in (provider = builtin, locale = 'C.UTF-8');
grant maintain on since_17.counted to clerk;`,
}

/** PostgreSQL before 14 has operators behind their operand, and nothing after it has. */
const REMOVED = `
create function kinds.half(integer) returns integer language sql immutable as 'select $1 / 2';
create operator kinds.%% (leftarg = integer, function = kinds.half);`

export function schemaOfMajor(major: number): string {
  const added = Object.entries(ADDED).filter(([since]) => Number(since) <= major)
  return [...added.map(([, sql]) => sql), ...(major < 14 ? [REMOVED] : [])].join('\n')
}

/** What superusers alone can make: nothing of it can be made by the role that migrates. */
const OF_SUPERUSERS = `
create operator family kinds.moods using btree;
create operator class kinds.mood_numbers for type plain.mood using hash as operator 1 = (anyenum, anyenum), function 1 hashenum(anyenum);
create access method another_heap type table handler heap_tableam_handler;
create foreign data wrapper nowhere;
create server far_away foreign data wrapper nowhere options (host 'elsewhere');
create user mapping for app server far_away options (user 'x');
create foreign table kinds.far (id integer, word text) server far_away options (name 'y');
create view kinds.on_far as select * from kinds.far;
create event trigger watch_ddl on ddl_command_end when tag in ('CREATE TABLE') execute function kinds.on_ddl();
create cast (int8range as tsrange) without function;
create publication everything for all tables;
create text search template kinds.any_word (lexize = dsimple_lexize, init = dsimple_init);
create text search parser kinds.any_text (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
create function kinds.plcopy_handler() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create trusted language plcopy handler kinds.plcopy_handler;
grant usage on language plcopy to app;
`

export function schemaOfSuperusers(major: number): string {
  return major < 15
    ? OF_SUPERUSERS
    : `${OF_SUPERUSERS} create publication all_of_schema for tables in schema since_15, table kinds.options;`
}
