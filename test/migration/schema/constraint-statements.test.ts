import { loadModule } from 'libpg-query'
import { beforeAll, expect, test } from 'vitest'
import { splitConstraints } from '../../../migration/schema/constraint-statements.ts'
import type { SchemaStatement } from '../../../migration/schema/split.ts'

beforeAll(loadModule)

const TARGET = { partitioned: new Set(['a.parted']), version: 170000 }

function constraint(table: string, definition: string, kind = 'CONSTRAINT'): SchemaStatement {
  const sql = `ALTER TABLE ONLY "a"."${table}"\n    ADD CONSTRAINT "c ""1" ${definition}`
  return { kind, schemaName: 'a', tableName: table, objectName: 'c "1', sql }
}

const texts = (statements: SchemaStatement[], version = TARGET.version): [string, string][] =>
  splitConstraints(statements, { ...TARGET, version }).map(({ kind, sql }) => [kind, sql])

test('a primary key becomes a unique index and a constraint with this index', () => {
  expect(texts([constraint('t', `PRIMARY KEY ("x ""y", "z") INCLUDE ("w") WITH (fillfactor='70')`)])).toEqual([
    [
      'INDEX',
      `CREATE UNIQUE INDEX "c ""1" ON "a"."t" USING btree ("x ""y", "z") INCLUDE ("w") WITH ("fillfactor" = '70')`,
    ],
    ['CONSTRAINT', `ALTER TABLE ONLY "a"."t" ADD CONSTRAINT "c ""1" PRIMARY KEY USING INDEX "c ""1"`],
  ])
})

test('a unique constraint keeps how it treats nulls and when it is checked', () => {
  expect(texts([constraint('t', 'UNIQUE NULLS NOT DISTINCT (x) DEFERRABLE INITIALLY DEFERRED')])).toEqual([
    ['INDEX', 'CREATE UNIQUE INDEX "c ""1" ON "a"."t" USING btree ("x") NULLS NOT DISTINCT'],
    [
      'CONSTRAINT',
      'ALTER TABLE ONLY "a"."t" ADD CONSTRAINT "c ""1" UNIQUE USING INDEX "c ""1" DEFERRABLE INITIALLY DEFERRED',
    ],
  ])
})

test.each([
  ['a key of a partitioned table', constraint('parted', 'PRIMARY KEY (id)')],
  ['a key without overlaps', constraint('t', 'PRIMARY KEY (id, during WITHOUT OVERLAPS)')],
  ['an exclusion constraint', constraint('t', 'EXCLUDE USING gist (during WITH &&)')],
  ['a foreign key that is not valid', constraint('t', 'FOREIGN KEY (x) REFERENCES a.u(id) NOT VALID', 'FK CONSTRAINT')],
  [
    'a foreign key that is not enforced',
    constraint('t', 'FOREIGN KEY (x) REFERENCES a.u NOT ENFORCED', 'FK CONSTRAINT'),
  ],
])('%s stays as it is', (_, statement) => {
  expect(splitConstraints([statement], TARGET)).toEqual([statement])
})

test('a foreign key is added without looking at the rows, and validated last', () => {
  const key = constraint('t', 'FOREIGN KEY (x) REFERENCES a.u(id) ON DELETE CASCADE DEFERRABLE', 'FK CONSTRAINT')
  const comment = { ...key, kind: 'COMMENT ON CONSTRAINT', sql: 'COMMENT …' }
  expect(texts([key, comment])).toEqual([
    ['FK CONSTRAINT', `${key.sql} NOT VALID`],
    ['COMMENT ON FK CONSTRAINT', 'COMMENT …'],
    ['VALIDATE FK CONSTRAINT', 'ALTER TABLE "a"."t" VALIDATE CONSTRAINT "c ""1"'],
  ])
})

test('a foreign key of a partitioned table can be added unchecked from PostgreSQL 18 on', () => {
  const key = constraint('parted', 'FOREIGN KEY (x) REFERENCES a.u(id)', 'FK CONSTRAINT')
  expect(texts([key], 170000)).toEqual([['FK CONSTRAINT', key.sql]])
  expect(texts([key], 180000).map(([kind]) => kind)).toEqual(['FK CONSTRAINT', 'VALIDATE FK CONSTRAINT'])
})

test('before 18 a foreign key of a partitioned table is made on its leaves, and taken over when these are valid', () => {
  const key = constraint('parted', 'FOREIGN KEY (x) REFERENCES a.t(y) DEFERRABLE', 'FK CONSTRAINT')
  const comment = { ...key, kind: 'COMMENT ON CONSTRAINT', sql: 'COMMENT ON CONSTRAINT' }
  const leaf = (name: string, constraints: string[] = []) => ({ schema: 'b', name, constraints })
  const split = (version: number, leaves: ReturnType<typeof leaf>[], others: SchemaStatement[] = []): string[] =>
    splitConstraints([key, comment, ...others], { ...TARGET, version, leaves: new Map([['a.parted', leaves]]) }).map(
      ({ kind, sql }) => `${kind}: ${sql.replaceAll('\n', ' ').slice(0, 100)}`,
    )
  const definition = `CONSTRAINT "c ""1" FOREIGN KEY (x) REFERENCES a.t(y) DEFERRABLE`
  const whole = [
    `FK CONSTRAINT: ALTER TABLE ONLY "a"."parted"     ADD ${definition}`.slice(0, 115),
    'COMMENT ON FK CONSTRAINT: COMMENT ON CONSTRAINT',
  ]
  expect(split(170000, [leaf('one'), leaf('two')])).toEqual([
    `FK CONSTRAINT: ALTER TABLE IF EXISTS "b"."one" ADD ${definition} NOT VALID`.slice(0, 115),
    `FK CONSTRAINT: ALTER TABLE IF EXISTS "b"."two" ADD ${definition} NOT VALID`.slice(0, 115),
    `VALIDATE FK CONSTRAINT: ALTER TABLE IF EXISTS "b"."one" VALIDATE CONSTRAINT "c ""1"`,
    `VALIDATE FK CONSTRAINT: ALTER TABLE IF EXISTS "b"."two" VALIDATE CONSTRAINT "c ""1"`,
    expect.stringMatching(/^ATTACHED FK CONSTRAINT: set local lock_timeout/),
    'COMMENT ON ATTACHED FK CONSTRAINT: COMMENT ON CONSTRAINT',
  ])
  expect(split(110000, [leaf('one')]), 'too old').toEqual(whole)
  expect(split(170000, []), 'no leaves').toEqual(whole)
  expect(split(170000, [leaf('one', ['c "1'])]), 'the name is taken').toEqual(whole)
  const own = { ...constraint('one', 'UNIQUE (x) ', 'CHECK CONSTRAINT'), schemaName: 'b' }
  expect(split(170000, [leaf('one')], [own]).slice(0, 1), 'the name will be taken').toEqual(whole.slice(0, 1))
})
