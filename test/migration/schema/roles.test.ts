import { loadModule } from 'libpg-query'
import { beforeAll, expect, test } from 'vitest'
import { schemaGrantsFirst } from '../../../migration/schema/apply-pre-data.ts'
import { obstacleWarnings, roleObstacle, rolesOf } from '../../../migration/schema/roles.ts'
import { splitDump } from '../../../migration/schema/split.ts'

beforeAll(loadModule)

const ROLES = {
  current: 'me',
  roles: new Map([
    ['me', { inherited: true, settable: true }],
    ['member', { inherited: true, settable: true }],
    ['not inherited', { inherited: false, settable: true }],
    ['not settable', { inherited: true, settable: false }],
    ['stranger', { inherited: false, settable: false }],
  ]),
}

test.each([
  ['ALTER TABLE a.t OWNER TO "we ""1"', ['we "1']],
  ['GRANT SELECT ON TABLE a.t TO one, two', ['one', 'two']],
  ['GRANT SELECT ON TABLE a.t TO PUBLIC', []],
  ['ALTER DEFAULT PRIVILEGES FOR ROLE one IN SCHEMA a GRANT SELECT ON TABLES TO two', ['two', 'one']],
])('%s names its roles', (sql, roles) => {
  expect(rolesOf(sql).sort()).toEqual(roles.sort())
})

test.each([
  ['OWNER OF TABLE', 'ALTER TABLE a.t OWNER TO member', undefined],
  ['OWNER OF TABLE', 'ALTER TABLE a.t OWNER TO gone', 'role "gone" does not exist on the target'],
  ['OWNER OF TABLE', 'ALTER TABLE a.t OWNER TO "not settable"', expect.stringContaining('full member')],
  ['OWNER OF TABLE', 'ALTER TABLE a.t OWNER TO "not inherited"', expect.stringContaining('full member')],
  ['ACL ON TABLE', 'GRANT SELECT ON TABLE a.t TO stranger', undefined],
  ['ACL ON TABLE', 'GRANT SELECT ON TABLE a.t TO gone', expect.stringContaining('gone')],
  [
    'DEFAULT ACL',
    'ALTER DEFAULT PRIVILEGES FOR ROLE gone GRANT SELECT ON TABLES TO me',
    expect.stringContaining('gone'),
  ],
  ['FUNCTION', 'CREATE FUNCTION a.f() RETURNS text LANGUAGE sql AS $$ gone $$', undefined],
])('%s: %s is run or not', (kind, sql, expected) => {
  expect(roleObstacle(kind, sql, ROLES)).toEqual(expected)
})

test('there is one warning for each role, however many objects it had', () => {
  expect(
    obstacleWarnings([
      { kind: 'OWNER OF TABLE', message: 'no role x' },
      { kind: 'OWNER OF TABLE', message: 'no role x' },
      { kind: 'ACL ON TABLE', message: 'no role x' },
      { kind: 'DEFAULT ACL', message: 'no role y' },
    ]),
  ).toEqual([
    '2 objects keep the migrating role as their owner and 1 grants were left out: no role x.',
    '1 grants were left out: no role y.',
  ])
})

test('rights on a schema come before its objects, unless they take some from a role', async () => {
  const ordered = schemaGrantsFirst(
    await splitDump(`
      CREATE SCHEMA a; ALTER SCHEMA a OWNER TO app; CREATE SCHEMA b; COMMENT ON SCHEMA b IS 'x';
      CREATE TABLE a.t (); GRANT SELECT ON TABLE a.t TO app;
      GRANT USAGE ON SCHEMA a TO app;
      REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC;
      REVOKE ALL ON SCHEMA b FROM app; GRANT USAGE ON SCHEMA b TO app;`),
  )
  expect(ordered.map(({ kind, objectName }) => `${kind} ${objectName}`)).toEqual([
    'SCHEMA a',
    'OWNER OF SCHEMA a',
    'SCHEMA b',
    'COMMENT ON SCHEMA b',
    'ACL ON SCHEMA a',
    'ACL ON SCHEMA public',
    'ACL ON SCHEMA public',
    'TABLE t',
    'ACL ON TABLE t',
    'ACL ON SCHEMA b',
    'ACL ON SCHEMA b',
  ])
})
