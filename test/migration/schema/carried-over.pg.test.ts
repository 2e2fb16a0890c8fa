import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Connection } from '../../../migration/connect.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { applyPostData } from '../../../migration/schema/apply-post-data.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { validateForeignKeys } from '../../../migration/schema/validate-foreign-keys.ts'
import { createSourceDatabase, createTestMigration, SOURCE_USER } from '../../support/servers.ts'
import { DOCUMENTED_DIFFERENCES } from './documented-differences.ts'
import { schemaOfMajor, schemaOfSuperusers } from './rich-schema/by-major.ts'
import { EVERY_KIND, EVERY_KIND_DATA } from './rich-schema/every-kind.ts'
import { RICH_DATA, RICH_SCHEMA } from './rich-schema.ts'
import { compareSchemas, statementsByObject } from './schema-differences.ts'
import { startPairWithRoles } from './schema-test.ts'

/** Statements that make nothing new. */
const NO_OBJECT =
  /^(OWNER OF|COMMENT ON|ACL ON|OPTION OF|DEFAULT ACL|(TABLE|INDEX) ATTACH|SEQUENCE OWNED BY|CLUSTER|REPLICA)/

async function statementsOf(connect: () => Promise<Connection>): Promise<Map<string, string[]>> {
  await using connection = await connect()
  return await statementsByObject(connection)
}

test.each([
  [15, 17],
  [13, 18],
])('from PostgreSQL %i to %i, pg_dump of both sides differs only in what is documented', async (from, to) => {
  await using pair = await startPairWithRoles(from, to)
  {
    await using admin = await pair.source.connect('template1')
    await admin.query(`grant create on schema public to public; grant clerk to app, ${SOURCE_USER};
                       alter role ${SOURCE_USER} bypassrls`)
  }
  const sql = [RICH_SCHEMA, EVERY_KIND, schemaOfMajor(from), RICH_DATA, EVERY_KIND_DATA].join('\n')
  await createSourceDatabase(pair, 'life', sql)
  {
    await using admin = await pair.source.connect('life')
    await admin.query(schemaOfSuperusers(from))
    await admin.query(`comment on database life is 'about a database; \\connect x'; set role app;
      revoke all on database life from public; grant connect, temporary on database life to clerk with grant option`)
    await admin.query('set role clerk; grant connect on database life to reader')
  }
  await using migration = await createTestMigration(pair, 'life', { properties: { migrationMode: 'Offline' } })
  const { context } = migration
  await prepareDatabase(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ remaining: 0, errored: 0 })
  await buildIndexes(context)
  const stages = [await applyPostData(context, 'cutover'), await validateForeignKeys(context)]
  const failed = stages.flatMap((stage) => stage.failed.map(({ object }) => object))

  const objects = await statementsOf(() => context.source('compare'))
  expect([...objects.keys()].filter((object) => !NO_OBJECT.test(object)).length).toBeGreaterThan(250)
  const differences = compareSchemas(objects, await statementsOf(() => context.target('compare')))
  const documented = differences.map((difference) => DOCUMENTED_DIFFERENCES.find(({ covers }) => covers(difference)))
  expect(differences.filter((_, n) => documented[n] === undefined)).toEqual([])
  const unused = DOCUMENTED_DIFFERENCES.filter((difference) => {
    const { since = 0, before = Infinity } = difference
    return from >= since && from < before && !documented.includes(difference)
  })
  expect(unused.map(({ reason }) => reason)).toEqual([])

  // What is not there is named to the user, each object once at least, and nothing that is there.
  const { warnings } = await context.status({})
  const named = new Set([...failed, ...warnings.map((warning) => warning.split(': ')[0]!)])
  const missing = differences.filter(({ object, target }) => target.length === 0 && !/^(OWNER OF|ACL ON)/.test(object))
  expect(missing.map(({ object }) => object).filter((object) => !named.has(object))).toEqual([])
  expect([...named].filter((name) => objects.has(name) && !missing.some(({ object }) => object === name))).toEqual([])
  expect(warnings.filter((warning) => /^\d/.test(warning))).toEqual([
    '3 grants were left out: role "only_on_source" does not exist on the target.',
  ])

  await using target = await context.target('database')
  const { rows } = await target.query(
    `select shobj_description(oid, 'pg_database') as comment, array_to_string(datacl, ' ') as grants,
            (select count(*) from pg_stats where schemaname = 'kinds' and tablename = 'stored') as statistics
       from pg_database where datname = 'life'`,
  )
  expect(rows).toEqual([
    { comment: 'about a database; \\connect x', grants: 'app=CTc/app clerk=T*c*/app reader=c/clerk', statistics: '2' },
  ])
})

test('every difference is documented', () => {
  const page = readFileSync(new URL('../../../docs/carried-over.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ')
  const missing = DOCUMENTED_DIFFERENCES.filter(({ documented }) => !page.includes(documented))
  expect(missing.map(({ documented }) => documented)).toEqual([])
})
