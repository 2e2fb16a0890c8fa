import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../../migration/connect.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { applyPostData, planPostData } from '../../../migration/schema/apply-post-data.ts'
import { applyPreData } from '../../../migration/schema/apply-pre-data.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { createSourceDatabase, createTestMigration, type ServerPair } from '../../support/servers.ts'
import { RICH_DATA, RICH_SCHEMA } from './rich-schema.ts'
import { createReference, migrateSchema, schemaOf, startPairWithRoles } from './schema-test.ts'

/** The reference has the roles of the target only, and the grant on `public` that a source before 15 brings along. */
const REFERENCE = RICH_SCHEMA.replaceAll(', only_on_source', '').replace(/^grant .* to only_on_source.*$/gm, '')

async function referenceSchema(context: DatabaseContext, name: string): Promise<string> {
  const endpoint = context.endpoint('target')
  await using reference = await connect(endpoint, { database: name, purpose: 'reference' })
  return await schemaOf(reference)
}

async function targetSchema(context: DatabaseContext): Promise<string> {
  await using target = await context.target('compare')
  return await schemaOf(target)
}

describe.each([
  [13, 17],
  [17, 18],
])('from PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startPairWithRoles(sourceMajor, targetMajor)
    const publicGrant = sourceMajor < 15 ? '' : 'grant create on schema public to public;'
    await createReference(pair, 'reference', REFERENCE + RICH_DATA)
    await using admin = await pair.source.connect('template1')
    await admin.query(publicGrant)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('the schema of the target is what the same statements make there', async () => {
    await createSourceDatabase(pair, 'rich', RICH_SCHEMA + RICH_DATA)
    await using migration = await createTestMigration(pair, 'rich')
    const { warnings, failed } = await migrateSchema(migration.context)
    expect(failed).toEqual([])
    expect(warnings).toEqual(['3 grants were left out: role "only_on_source" does not exist on the target.'])
    expect(await targetSchema(migration.context)).toBe(await referenceSchema(migration.context, 'reference'))
  })

  test('nothing that fires or checks is on the target before the cutover', async () => {
    await createSourceDatabase(pair, 'staged', RICH_SCHEMA + RICH_DATA)
    await using migration = await createTestMigration(pair, 'staged')
    const { context } = migration
    await createTargetDatabase(context)
    await applyPreData(context)
    await planPostData(context)
    await applyPostData(context, 'load')
    await using target = await context.target('look')
    const { rows } = await target.query(
      `select (select count(*) from pg_trigger where not tgisinternal) as triggers,
              (select count(*) from pg_constraint where contype = 'f') as keys,
              (select count(*) from pg_class where relrowsecurity) as secured,
              (select count(*) from pg_policy) as policies,
              (select count(*) from pg_rewrite where rulename <> '_RETURN' and oid >= 16384) as rules,
              (select count(*) from pg_index where not indisvalid) as invalid_indexes`,
    )
    // The one index that is not valid is that of a partitioned table that not all partitions have.
    expect(rows).toEqual([{ triggers: '0', keys: '0', secured: '0', policies: '0', rules: '0', invalid_indexes: '1' }])
  })
})
