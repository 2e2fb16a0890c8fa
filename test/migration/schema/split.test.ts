import { expect, test } from 'vitest'
import { splitDump } from '../../../migration/schema/split.ts'

/** An entry as pg_dump prints one. */
function entry(name: string, type: string, sql: string): string {
  return `--\n-- Name: ${name}; Type: ${type}; Schema: public; Owner: app\n--\n\n${sql}\n\n\n`
}

const HEAD = `--
-- PostgreSQL database dump
--

\\restrict pgflex

-- Dumped from database version 13.23
-- Dumped by pg_dump version 18.3

SET statement_timeout = 0;
SET transaction_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
SET default_table_access_method = "heap";

`
const FOOT = `--
-- PostgreSQL database dump complete
--

\\unrestrict pgflex

`

async function split(...entries: string[]): Promise<Awaited<ReturnType<typeof splitDump>>> {
  return splitDump(HEAD + entries.join('') + FOOT)
}

test('the preamble, meta-commands and comments of pg_dump are no statements', async () => {
  expect(await split()).toEqual([])
  expect(await split(entry('a', 'SCHEMA', 'CREATE SCHEMA a;'))).toEqual([
    { kind: 'SCHEMA', schemaName: null, objectName: 'a', tableName: null, sql: 'CREATE SCHEMA a' },
  ])
})

test('a body that looks like a dump survives byte for byte', async () => {
  const body = `$_$\nbegin; -- Grüße 😀\n\\restrict pgflex\n\\unrestrict pgflex\n--\n-- Name: x; Type: TABLE; Schema: public; Owner: app\n--\n\nCREATE TABLE x ();\nSET a = b;\n$_$`
  const sql = `CREATE FUNCTION public.f() RETURNS text\n    LANGUAGE plpgsql\n    AS ${body}`
  const statements = await split(entry('f()', 'FUNCTION', `${sql};`), entry('t', 'TABLE', 'CREATE TABLE public.t ();'))
  expect(statements.map(({ kind, objectName }) => [kind, objectName])).toEqual([
    ['FUNCTION', 'f'],
    ['TABLE', 't'],
  ])
  expect(statements[0]!.sql).toBe(sql)
})

test('dumps longer than one call of the parser keep their statements and their order', async () => {
  const filler = 'x'.repeat(999)
  const names = Array.from({ length: 1000 }, (_, n) => `ü${n}`)
  const look = '\n--\n-- Name: y; Type: TABLE; Schema: public; Owner: app\n--\n'
  const statements = await split(
    ...names.map((name) =>
      entry(
        name,
        'FUNCTION',
        `CREATE FUNCTION public."${name}"() RETURNS text LANGUAGE sql AS '${filler}${look}${filler}';`,
      ),
    ),
  )
  expect(statements.map(({ objectName }) => objectName)).toEqual(names)
  expect(new Set(statements.map(({ sql }) => sql.split(look).length))).toEqual(new Set([2]))
})

test('what the parser does not know stands alone and keeps the name that pg_dump gives it', async () => {
  const statements = await split(
    entry('a', 'SCHEMA', 'CREATE SCHEMA a;'),
    entry('old thing', 'OLD THING', 'CREATE OLD THING "old thing";'),
    entry('b', 'SCHEMA', 'CREATE SCHEMA b;'),
  )
  expect(statements.map(({ kind, objectName, sql }) => [kind, objectName, sql])).toEqual([
    ['SCHEMA', 'a', 'CREATE SCHEMA a'],
    ['OLD THING', 'old thing', 'CREATE OLD THING "old thing"'],
    ['SCHEMA', 'b', 'CREATE SCHEMA b'],
  ])
})

test('names come from the statement, not from the comment in front of it', async () => {
  const [statement] = await split(
    entry('x; Type: VIEW; Schema: y; Owner: z', 'TABLE', `CREATE TABLE "s.""c"."x; Type: VIEW;\n\n-- y" (id integer);`),
  )
  expect(statement).toMatchObject({ kind: 'TABLE', schemaName: 's."c', objectName: 'x; Type: VIEW;\n\n-- y' })
})

test.each([
  ['ALTER TABLE ONLY a.t ADD CONSTRAINT c PRIMARY KEY (id)', 'CONSTRAINT', 'a', 'c', 't'],
  ['ALTER TABLE ONLY a.t ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES a.u(id)', 'FK CONSTRAINT', 'a', 'c', 't'],
  ['ALTER TABLE a.t ADD CONSTRAINT c CHECK (id > 0) NOT VALID', 'CHECK CONSTRAINT', 'a', 'c', 't'],
  ['CREATE INDEX i ON a.t USING btree (id)', 'INDEX', 'a', 'i', 't'],
  ['ALTER INDEX a.i ATTACH PARTITION a.j', 'INDEX ATTACH', 'a', 'j', null],
  ['ALTER TABLE ONLY a.t ATTACH PARTITION a.p FOR VALUES IN (1)', 'TABLE ATTACH', 'a', 'p', 't'],
  ['ALTER TABLE a.t CLUSTER ON i', 'CLUSTER', 'a', 'i', 't'],
  ['ALTER TABLE ONLY a.t REPLICA IDENTITY FULL', 'REPLICA IDENTITY', 'a', 't', 't'],
  ['ALTER TABLE a.t ENABLE ROW LEVEL SECURITY', 'ROW SECURITY', 'a', 't', 't'],
  ['ALTER TABLE a.t DISABLE TRIGGER x', 'TRIGGER', 'a', 'x', 't'],
  ['ALTER TABLE a.t ENABLE ALWAYS RULE x', 'RULE', 'a', 'x', 't'],
  ['ALTER TABLE ONLY a.t ALTER COLUMN b SET DEFAULT 1', 'DEFAULT', 'a', 'b', 't'],
  ['ALTER TABLE a.t ALTER COLUMN b ADD GENERATED ALWAYS AS IDENTITY', 'IDENTITY', 'a', 't', 't'],
  ['ALTER SEQUENCE a.s OWNED BY a.t.b', 'SEQUENCE OWNED BY', 'a', 's', 't'],
  ['ALTER TABLE a.t OWNER TO app', 'OWNER OF TABLE', 'a', 't', 't'],
  ['ALTER FUNCTION a.f(integer) OWNER TO app', 'OWNER OF FUNCTION', 'a', 'f', null],
  ['ALTER EVENT TRIGGER e OWNER TO app', 'OWNER OF EVENT TRIGGER', null, 'e', null],
  ['COMMENT ON TRIGGER x ON a.t IS NULL', 'COMMENT ON TRIGGER', 'a', 'x', 't'],
  ['COMMENT ON COLUMN a.t.b IS NULL', 'COMMENT ON COLUMN', 'a', 'b', 't'],
  ['COMMENT ON EXTENSION e IS NULL', 'COMMENT ON EXTENSION', null, 'e', null],
  ['GRANT SELECT ON TABLE a.t TO app', 'ACL ON TABLE', 'a', 't', 't'],
  ['GRANT USAGE ON SCHEMA a TO app', 'ACL ON SCHEMA', null, 'a', null],
  ['ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO app', 'DEFAULT ACL', null, null, null],
  ['CREATE EXTENSION IF NOT EXISTS e WITH SCHEMA a', 'EXTENSION', null, 'e', null],
  ['CREATE MATERIALIZED VIEW a.m AS SELECT 1 WITH NO DATA', 'MATERIALIZED VIEW', 'a', 'm', null],
  ['REFRESH MATERIALIZED VIEW a.m', 'MATERIALIZED VIEW DATA', 'a', 'm', null],
  ['CREATE OR REPLACE VIEW a.v AS SELECT 1', 'VIEW', 'a', 'v', null],
  ['CREATE PUBLICATION p', 'PUBLICATION', null, 'p', null],
  ['ALTER PUBLICATION p ADD TABLE ONLY a.t', 'PUBLICATION TABLE', null, 'p', null],
  ['CREATE STATISTICS a.s ON x, y FROM a.t', 'STATISTICS', 'a', 's', null],
])('%s is named', async (sql, kind, schemaName, objectName, tableName) => {
  expect(await split(`${sql};\n`)).toEqual([{ kind, schemaName, objectName, tableName, sql }])
})

test('an access method that is not PostgreSQL’s own goes with each table that has it', async () => {
  const statements = await split(
    'SET default_table_access_method = columnar;\n',
    entry('t', 'TABLE', 'CREATE TABLE public.t ();\nALTER TABLE public.t OWNER TO app;'),
    'SET default_table_access_method = heap;\n',
    entry('u', 'TABLE', 'CREATE TABLE public.u ();'),
  )
  expect(statements.map(({ sql }) => sql)).toEqual([
    'set local default_table_access_method = "columnar";\nCREATE TABLE public.t ();\nset local default_table_access_method = heap',
    'ALTER TABLE public.t OWNER TO app',
    'CREATE TABLE public.u ()',
  ])
})

test('a grant that a role other than the owner has given is given as that role', async () => {
  const statements = await split(
    'SET SESSION AUTHORIZATION clerk;\nGRANT SELECT ON TABLE public.t TO reader;\nRESET SESSION AUTHORIZATION;\n',
    'GRANT INSERT ON TABLE public.t TO reader;\n',
  )
  expect(statements.map(({ sql }) => sql)).toEqual([
    'set local role "clerk";\nGRANT SELECT ON TABLE public.t TO reader;\nreset role',
    'GRANT INSERT ON TABLE public.t TO reader',
  ])
})
