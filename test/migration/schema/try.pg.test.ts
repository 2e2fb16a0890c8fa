import { test } from 'vitest'
import { startServerPair, createSourceDatabase, createTestMigration, type ServerPair } from '../../support/servers.ts'
import { dumpDatabase } from '../../../migration/schema/dump.ts'
import { RICH_SCHEMA, RICH_DATA } from './rich-schema.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { applyPreData } from '../../../migration/schema/apply-pre-data.ts'
import { planPostData, applyPostData } from '../../../migration/schema/apply-post-data.ts'
import { validateForeignKeys } from '../../../migration/schema/validate-foreign-keys.ts'
import { analyzeTables } from '../../../migration/schema/analyze.ts'
import { copySequences, compareSequences } from '../../../migration/schema/sequences.ts'
import { writeFileSync } from 'node:fs'
test('try', async () => {
  await using pair: ServerPair = await startServerPair(13, 17)
  { await using a = await pair.source.connect(); await a.query('create role reader; create role clerk; create role only_on_source') }
  { await using a = await pair.target.connect(); await a.query('set createrole_self_grant = \'set, inherit\'; set role target_admin; create role reader; create role clerk; create role app') }
  await createSourceDatabase(pair, 'a', RICH_SCHEMA + RICH_DATA)
  await using m = await createTestMigration(pair, 'a')
  console.log(await createTargetDatabase(m.context), await createTargetDatabase(m.context))
  console.log(await applyPreData(m.context))
  await planPostData(m.context)
  console.log(await applyPostData(m.context, 'load'))
  console.log(await applyPostData(m.context, 'cutover'))
  console.log(await validateForeignKeys(m.context))
  console.log(await analyzeTables(m.context))
  { await using s = await m.context.source('x'); await using t = await m.context.target('x'); 
    console.log(await compareSequences(s, t)); console.log(await copySequences(s, t)); console.log(await compareSequences(s, t)) }
  console.log((await m.context.status({})).warnings)
  writeFileSync('/tmp/s.sql', await dumpDatabase(await m.context.source('x'), ['--schema-only']))
  writeFileSync('/tmp/t.sql', await dumpDatabase(await m.context.target('x'), ['--schema-only']))
})
