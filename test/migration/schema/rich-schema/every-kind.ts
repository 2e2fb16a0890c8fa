/** The kinds and options that the base of the rich schema does not have; for an ordinary role on PostgreSQL 13. */
export const EVERY_KIND = `
create schema kinds;
create schema extensions;
create extension hstore schema extensions;
create extension citext schema extensions;
create extension pg_trgm schema extensions;
create extension btree_gist schema extensions;
create extension ltree schema extensions;
create extension "uuid-ossp" schema extensions;
create extension unaccent schema extensions;
create extension pgcrypto schema extensions;
comment on extension hstore is 'another text than that of the extension itself';
grant execute on function extensions.crypt(text, text) to clerk;

create type kinds.nested as (pair plain.pair, moods plain.mood[]);
create type kinds.text_range as range (subtype = text, collation = "C", subtype_opclass = text_pattern_ops);
create domain kinds.email as text collate "C" default 'x@y' not null constraint looks_right check (value ~ '@');
create domain kinds.short_email as kinds.email check (length(value) < 40);
create domain kinds.emails as kinds.email[];
comment on type kinds.nested is 'about a type';
comment on column kinds.nested.moods is 'about a column of a type';
comment on domain kinds.email is 'about a domain';
comment on constraint looks_right on domain kinds.email is 'about a constraint of a domain';
grant usage on domain kinds.email to reader;
revoke usage on type plain.float_range from public;

create collation kinds.phonebook (provider = icu, locale = 'de-u-co-phonebk');
create collation kinds.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation kinds.posix (lc_collate = 'POSIX', lc_ctype = 'C');
comment on collation kinds.any_case is 'about a collation';
create conversion kinds.to_latin for 'UTF8' to 'LATIN1' from pg_catalog.utf8_to_iso8859_1;
create default conversion kinds.from_latin for 'LATIN1' to 'UTF8' from pg_catalog.iso8859_1_to_utf8;
comment on conversion kinds.to_latin is 'about a conversion';

create text search dictionary kinds.stems (template = snowball, language = german, stopwords = german);
create text search configuration kinds.german (parser = "default");
alter text search configuration kinds.german add mapping for asciiword, word with kinds.stems, plain.dictionary;
alter text search configuration kinds.german add mapping for int with simple;
comment on text search dictionary kinds.stems is 'about a dictionary';
comment on text search configuration kinds.german is 'about a configuration';

create function kinds.every_option(a integer, variadic rest text[] default '{}', out n bigint, out t text) returns setof record
  language plpgsql stable strict parallel restricted cost 17 rows 23 security definer
  set work_mem = '64MB' set search_path = kinds, "plain" set "TimeZone" = 'Europe/Berlin' as $$ begin n := a; t := rest[1]; return next; end $$;
create function kinds.polymorphic(anyelement, anyarray) returns anyelement language sql immutable as 'select coalesce($1, $2[1])';
create function kinds.as_table(inout a integer, inout b text default null) language sql as 'select a, b';
create function kinds.returns_table(limit_to integer default 3) returns table (id integer, "a b" text)
  language sql rows 3 as 'select n, n::text from generate_series(1, limit_to) as n';
create function kinds.on_ddl() returns event_trigger language plpgsql as 'begin null; end';
create procedure kinds.secure_proc(text, inout n numeric default 0.5) language plpgsql security definer set search_path = '' as 'begin n := n + 1; end';
create function kinds.needs_hstore(extensions.hstore) returns text language sql immutable as $$ select 'x' $$;
alter function kinds.needs_hstore(extensions.hstore) depends on extension hstore;
comment on function kinds.polymorphic(anyelement, anyarray) is 'about a function';
comment on procedure kinds.secure_proc(text, numeric) is 'about a procedure';
revoke all on procedure kinds.secure_proc(text, numeric) from public;

create function kinds.pick(float8[], float8) returns float8 language sql immutable as 'select $1[($2 * cardinality($1))::integer + 1]';
create function kinds.pick_extra(float8[], float8, float8) returns float8 language sql immutable as 'select $1[1]';
create aggregate kinds.moving_sum(integer) (sfunc = int4pl, stype = integer, initcond = '0', combinefunc = int4pl, sspace = 100,
  msfunc = int4pl, minvfunc = int4mi, mstype = integer, minitcond = '0', mfinalfunc_modify = shareable, parallel = safe);
create aggregate kinds.smallest(integer) (sfunc = int4smaller, stype = integer, sortop = <);
create aggregate kinds.pick_at(float8 order by float8) (sfunc = array_append, stype = float8[], finalfunc = kinds.pick, initcond = '{}');
create aggregate kinds.pick_hypothetical(float8 order by float8)
  (sfunc = array_append, stype = float8[], finalfunc = kinds.pick_extra, finalfunc_extra, finalfunc_modify = read_write, hypothetical);
create aggregate kinds.count_all(*) (sfunc = int8inc, stype = bigint, initcond = '0');
comment on aggregate kinds.moving_sum(integer) is 'about an aggregate';
comment on aggregate kinds.pick_at(float8 order by float8) is 'about an ordered-set aggregate';
grant execute on function kinds.moving_sum(integer) to reader;
grant create on schema kinds to clerk;
alter aggregate kinds.smallest(integer) owner to clerk;
revoke create on schema kinds from clerk;

create function kinds.mood_equal(plain.mood, integer) returns boolean language sql immutable as 'select true';
create function kinds.equal_mood(integer, plain.mood) returns boolean language sql immutable as 'select true';
create function kinds.mood_not_equal(plain.mood, integer) returns boolean language sql immutable as 'select false';
create operator kinds.=== (leftarg = plain.mood, rightarg = integer, function = kinds.mood_equal, commutator = operator(kinds.===),
  negator = operator(kinds.!==), restrict = eqsel, join = eqjoinsel, hashes, merges);
create operator kinds.=== (leftarg = integer, rightarg = plain.mood, function = kinds.equal_mood, commutator = operator(kinds.===), hashes, merges);
create operator kinds.!== (leftarg = plain.mood, rightarg = integer, function = kinds.mood_not_equal, negator = operator(kinds.===), restrict = neqsel, join = neqjoinsel);
create function kinds.negate(plain.mood) returns plain.mood language sql immutable as 'select $1';
create operator kinds.- (rightarg = plain.mood, function = kinds.negate);
comment on operator kinds.=== (plain.mood, integer) is 'about an operator';
create function kinds.mood_number(plain.mood) returns integer language sql immutable as 'select 1';
create cast (plain.mood as integer) with function kinds.mood_number(plain.mood) as implicit;
comment on cast (plain.mood as integer) is 'about a cast';

create sequence kinds.all_options as integer start 1000 increment by 5 minvalue 10 maxvalue 10000 cache 3 no cycle;
comment on sequence kinds.all_options is 'about a sequence';
grant select, update on sequence kinds.all_options to clerk with grant option;

create table kinds.options (
  id      bigint primary key,
  word    text,
  plain   text,
  packed  integer,
  name    extensions.citext,
  path    extensions.ltree,
  emails  kinds.emails,
  nested  kinds.nested,
  search  tsvector,
  place   point,
  valid   boolean,
  during  int4range not null,
  other   bigint,
  phone   text collate kinds.phonebook,
  dropped integer,
  mail    kinds.short_email default 'a@b'
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false, parallel_workers = 2, toast_tuple_target = 1000);
alter table kinds.options drop column dropped;
alter table kinds.options alter column word set storage main, alter column plain set storage plain, alter column packed set statistics 0,
  alter column word set (n_distinct = -0.5, n_distinct_inherited = 100);
alter table kinds.options
  add constraint options_word unique (word, packed) include (plain),
  add constraint options_fill unique (other) with (fillfactor = 60),
  add constraint options_excluded exclude using gist (packed with =, during with &&) where (valid) deferrable initially deferred,
  add constraint options_hash_excluded exclude using hash (phone with =),
  add constraint options_none check (packed > 0) no inherit,
  add constraint options_self foreign key (other) references kinds.options (id) match full on delete cascade on update set null not valid;
comment on constraint options_self on kinds.options is 'about a foreign key';
comment on constraint options_word on kinds.options is 'about a unique constraint';
comment on index kinds.options_word is 'about the index of a constraint';
create index options_trigrams on kinds.options using gin (word extensions.gin_trgm_ops) with (fastupdate = off, gin_pending_list_limit = 128);
create index options_signature on kinds.options using gist (word extensions.gist_trgm_ops (siglen = 64), search tsvector_ops (siglen = 100));
create index options_place on kinds.options using spgist (place) with (fillfactor = 60);
create index options_pattern on kinds.options (word text_pattern_ops, plain collate "C" desc nulls last);
create index options_collated on kinds.options (phone collate kinds.any_case) where valid and packed is not null;
create index options_brin on kinds.options using brin (packed int4_minmax_ops) with (autosummarize = on);
create index options_expression on kinds.options ((word || plain), extensions.similarity(word, 'x'), kinds.polymorphic(packed, null::integer[]));
create unique index options_partial on kinds.options (word) where valid;
create index options_dependent on kinds.options using gist (path extensions.gist_ltree_ops) where id > 5;
alter index kinds.options_dependent depends on extension ltree;
create statistics kinds.options_mcv (mcv) on word, packed, other from kinds.options;
create statistics kinds.options_all on word, plain from kinds.options;
alter table kinds.options cluster on options_pattern;
grant insert (word), references (id), select (word) on kinds.options to reader, clerk;
grant trigger, truncate on kinds.options to clerk;

create table kinds.base_a (a integer default 1, common text, constraint a_positive check (a > 0));
create table kinds.base_b (b integer not null, common text default 'b');
create table kinds.heir (c integer, a integer default 2) inherits (kinds.base_a, kinds.base_b);
create table kinds.grandchild () inherits (kinds.heir);
alter table kinds.heir alter column common set default 'heir', add constraint heir_own check (c < a);
create table kinds.late_heir (a integer, common text, x integer, constraint a_positive check (a > 0));
alter table kinds.late_heir inherit kinds.base_a;
create unlogged table kinds.unlogged (id integer generated always as identity primary key);
create table kinds.typed of kinds.nested (moods default '{ok}', check (pair is not null));
alter table kinds.typed add primary key (pair);
create table kinds.identities (
  a integer generated always as identity (sequence name kinds.identity_name start 7 cycle maxvalue 100),
  b smallint generated by default as identity,
  c integer generated always as (b * 2) stored primary key
);

create table kinds.egg (id integer primary key, hen integer);
create table kinds.hen (id integer primary key, egg integer references kinds.egg deferrable initially deferred);
alter table kinds.egg add foreign key (hen) references kinds.hen on update restrict on delete set default;
create function kinds.default_of(kinds.egg) returns integer language sql immutable as 'select 5';
alter table kinds.egg alter column hen set default kinds.default_of(null::kinds.egg);
create function kinds.is_egg(kinds.egg) returns boolean language sql immutable as 'select true';
alter table kinds.egg add constraint egg_is_egg check (kinds.is_egg(egg.*));

create table kinds.lists (region text, sub integer, id integer, primary key (region, sub)) partition by list (region);
create table kinds.lists_eu partition of kinds.lists (constraint eu_only check (id < 1000)) for values in ('de', 'fr') partition by range (sub);
create table kinds.lists_eu_low partition of kinds.lists_eu for values from (minvalue) to (10) with (fillfactor = 50);
create table kinds.lists_eu_rest partition of kinds.lists_eu default;
create table kinds.lists_rest (id integer, dropped integer, sub integer not null, region text not null default 'us');
alter table kinds.lists_rest drop column dropped;
alter table kinds.lists_rest add constraint own_name primary key (region, sub);
alter table kinds.lists attach partition kinds.lists_rest default;
create index on kinds.lists (id);
create unique index lists_unique on kinds.lists (sub, region) include (id);
alter table kinds.lists_rest replica identity using index own_name;
comment on table kinds.lists_eu is 'about a partition';
create table kinds.ranges (a integer, b text collate "C", c date) partition by range (a, lower(b) collate "POSIX" text_pattern_ops);
create table kinds.ranges_1 partition of kinds.ranges for values from (1, minvalue) to (10, 'm');
create table kinds.hashes (id integer references kinds.egg, lists_region text, lists_sub integer,
  foreign key (lists_region, lists_sub) references kinds.lists) partition by hash (id);
create table kinds.hashes_0 partition of kinds.hashes for values with (modulus 2, remainder 0);
create unlogged table kinds.hashes_1 partition of kinds.hashes for values with (modulus 2, remainder 1);

create view kinds.circle as select 1 as a, 'x'::text as b;
create function kinds.of_circle(kinds.circle) returns integer language sql stable as 'select 1';
create or replace view kinds.circle as select kinds.of_circle(null::kinds.circle) as a, 'x'::text as b;
create view kinds.cascaded with (security_barrier = true) as select id, word from kinds.options where id > 0 with cascaded check option;
alter view kinds.cascaded alter column word set default 'from the view';
create view kinds.joined as
  with recursive w (n) as (select 1 union all select n + 1 from w where n < 3)
  select o.id, h.*, w.n, row_number() over (partition by o.word order by o.id desc rows between 1 preceding and current row) as r,
         (select max(i.a) from kinds.identities i where i.b = o.packed) as most, array(select unnest('{1,2}'::integer[])) as list
    from kinds.options o left join lateral (select * from kinds.heir where kinds.heir.a = o.packed) h on true cross join w
   where o.word similar to 'a%' or o.during && '[1,2)'::int4range or exists (select from kinds.egg e where e.id = o.id)
  union all select 1, 2, 'x', 3, 4, 5, 6, 7, null order by 1 limit 10 offset 1;
create view kinds.using_aggregates as select kinds.pick_at(0.5) within group (order by id) as p, kinds.moving_sum(packed) filter (where valid) as s from kinds.options;
comment on column kinds.joined.most is 'about a column of a view';
grant select on kinds.joined to reader;
create materialized view kinds.stored with (fillfactor = 70) as select word, count(*) as n from kinds.options group by word with data;
create materialized view kinds.stored_again as select s.word, v.id from kinds.stored s join kinds.cascaded v using (word);
create view kinds.on_stored as select * from kinds.stored_again;
create materialized view kinds.stored_third as select * from kinds.on_stored with no data;
create unique index stored_word on kinds.stored (word);
create index stored_third_word on kinds.stored_third (word) where word is not null;
alter materialized view kinds.stored cluster on stored_word;
alter materialized view kinds.stored alter column word set statistics 33;
create statistics kinds.stored_statistics on word, n from kinds.stored;
grant select on kinds.stored to clerk;
comment on column kinds.stored.n is 'about a column of a materialized view';

create function kinds.fires() returns trigger language plpgsql as 'begin return null; end';
create trigger statement_trigger after update on kinds.options referencing old table as "old ones" new table as "new ones" for each statement execute function kinds.fires('it''s', '\\x', '');
create trigger when_trigger before update of word, plain on kinds.options for each row when (old.* is distinct from new.*) execute function kinds.fires();
create trigger truncate_trigger before truncate on kinds.options execute function kinds.fires();
create trigger replica_trigger after delete on kinds.options for each row execute function kinds.fires();
alter table kinds.options enable replica trigger replica_trigger;
create trigger instead_trigger instead of insert or update or delete on kinds.cascaded for each row execute function kinds.fires();
create constraint trigger from_trigger after update on kinds.options from kinds.egg initially deferred for each row execute function kinds.fires();
create trigger partition_trigger after insert on kinds.lists for each row execute function kinds.fires();
alter table kinds.lists_rest disable trigger partition_trigger;
comment on trigger when_trigger on kinds.options is 'about a trigger';
create rule also_rule as on update to kinds.options where new.word <> old.word do also (insert into kinds.egg (id) values (new.id); select 1);
create rule replica_rule as on delete to kinds.base_a do instead delete from kinds.base_b where kinds.base_b.b = old.a;
alter table kinds.base_a enable replica rule replica_rule;
alter table kinds.options disable rule also_rule;
alter table kinds.lists enable row level security;
create policy everything on kinds.lists using (region = current_user);
create policy to_insert on kinds.lists for insert to clerk with check (sub in (select id from kinds.egg));
create policy to_delete on kinds.lists as restrictive for delete to current_user using (true);
create publication partitions for table kinds.lists, only kinds.base_a with (publish_via_partition_root = true, publish = 'delete, truncate');
create publication empty;
comment on publication partitions is 'about a publication';

alter default privileges in schema kinds grant all on sequences to clerk;
alter default privileges in schema kinds grant execute on functions to reader;
alter default privileges grant usage on types to reader;
alter default privileges revoke usage on types from public;
alter default privileges grant usage on schemas to clerk;
revoke all on schema kinds from public;
grant all on schema extensions to public;
`

export const EVERY_KIND_DATA = `
insert into kinds.egg select n, null from generate_series(1, 3) as n;
insert into kinds.hen select n, n from generate_series(1, 3) as n;
update kinds.egg set hen = 4 - id;
insert into kinds.options (id, word, plain, packed, name, path, emails, nested, search, place, valid, during, mail)
  select n, 'word ' || n, 'p', n, 'Name', 'a.b', '{a@b,c@d}', '("(1,x,{1.5})","{ok,sad}")', 'a b', point(n, n), true,
         int4range(n, n + 1), 'me@here' from generate_series(1, 50) as n;
insert into kinds.lists select r, n, n from generate_series(1, 20) as n, unnest('{de,fr,us}'::text[]) as r;
insert into kinds.hashes select n % 3 + 1, 'de', n from generate_series(1, 20) as n;
insert into kinds.heir (a, b, c, common) select 5, n, 1, 'x' from generate_series(1, 5) as n;
insert into kinds.identities (b) select n from generate_series(1, 5) as n;
insert into kinds.typed values (row(1, 'x', '{}'), '{sad}');
insert into kinds.ranges values (2, 'b', '2024-01-01');
insert into kinds.unlogged default values;
refresh materialized view kinds.stored;
refresh materialized view kinds.stored_again;
`
