import { expect, test } from 'vitest'
import { tableFilter } from '../../../migration/model/table-filter.ts'
import { isExpected, skipLeftOut } from '../../../migration/schema/left-out.ts'
import { splitDump } from '../../../migration/schema/split.ts'

test('a table that is left out takes along what cannot be without it, and nothing else', async () => {
  const statements = await splitDump(`
    CREATE TABLE a.kept (id integer);
    CREATE TABLE a."gone." (id integer);
    ALTER TABLE a."gone." OWNER TO app;
    CREATE SEQUENCE a.s;
    ALTER SEQUENCE a.s OWNED BY a."gone.".id;
    CREATE VIEW a.v AS SELECT k.id FROM (a.kept k JOIN (SELECT id FROM a."gone.") g USING (id));
    CREATE VIEW a.w AS SELECT id FROM a.v;
    COMMENT ON VIEW a.w IS 'x';
    CREATE VIEW a.x AS SELECT id AS "gone." FROM a.kept;
    GRANT SELECT ON TABLE a.w TO app;
    CREATE INDEX i ON a."gone." USING btree (id);
    CREATE INDEX i ON a.kept USING btree (id);
    ALTER TABLE ONLY a.kept ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES a."gone."(id);
    ALTER PUBLICATION p ADD TABLE ONLY a."gone.";
    CREATE FUNCTION a.f() RETURNS text LANGUAGE sql AS 'select 1 from a."gone."';
  `)
  const planned = skipLeftOut(statements, tableFilter({ excludeTables: ['a.gone*'] }))
  const left = planned.filter(({ state }) => state !== 'skipped')
  expect(left.map(({ kind, objectName, tableName }) => [kind, objectName, tableName])).toEqual([
    ['TABLE', 'kept', 'kept'],
    ['SEQUENCE', 's', null],
    ['VIEW', 'x', null],
    ['INDEX', 'i', 'kept'],
    ['FUNCTION', 'f', null],
  ])
  const news = planned.filter((statement) => !isExpected({ state: 'done', message: null, ...statement }))
  expect(news.flatMap(({ objectName, message }) => (message ? [[objectName, message]] : []))).toEqual([
    ['v', 'needs a.gone., which is left out'],
    ['w', 'needs a.v, which is left out'],
  ])
})

test('what was left out before the data stays left out after it', async () => {
  const statements = await splitDump('CREATE INDEX i ON a.m USING btree (id); CREATE INDEX j ON a.n USING btree (id);')
  expect(skipLeftOut(statements, () => true, new Set(['a.m'])).map(({ state }) => state)).toEqual([
    'skipped',
    undefined,
  ])
})
