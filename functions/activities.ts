import { cutoverDatabase } from '../migration/cutover/cutover-database.ts'
import { databasesEnded, endMigration } from '../migration/cutover/end-migration.ts'
import { endDatabase } from '../migration/cutover/end-database.ts'
import { storeCutover } from '../migration/cutover/store-cutover.ts'
import { endFallback } from '../migration/fallback/end-fallback.ts'
import { followBack } from '../migration/fallback/follow-back.ts'
import { switchBack } from '../migration/fallback/switch-back.ts'
import { copyTables } from '../migration/load/copy-tables.ts'
import { loadLargeObjects } from '../migration/load/large-objects.ts'
import { planDatabaseLoad } from '../migration/load/plan-database-load.ts'
import { createSlot } from '../migration/replicate/create-slot.ts'
import { follow } from '../migration/replicate/follow.ts'
import { buildIndexes } from '../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../migration/schema/prepare-database.ts'
import { startIndexes } from '../migration/schema/start-indexes.ts'
import { copyServerParameters } from '../migration/server/copy-server-parameters.ts'
import { readiness } from '../migration/validate/readiness.ts'
import { validate } from '../migration/validate/validate.ts'
import { configurationWriter } from './environment.ts'
import { databaseActivity, fallbackActivity, serverActivity } from './run-activity.ts'

serverActivity('readiness', (context) => readiness(context))
serverActivity('validate', (context) => validate(context))
serverActivity('copyServerParameters', async (context) => copyServerParameters(context, await configurationWriter()))
serverActivity('storeCutover', (context, { databases }) => storeCutover(context, databases))
serverActivity('databasesEnded', (context) => databasesEnded(context))
serverActivity('endMigration', (context, { outcome }) => endMigration(context, outcome))

databaseActivity('prepareDatabase', (context) => prepareDatabase(context))
databaseActivity('createSlot', (context) => createSlot(context))
databaseActivity('planLoad', (context) => planDatabaseLoad(context))
databaseActivity('copyTables', (context, { worker }) => copyTables(context, { worker }))
databaseActivity('copyLargeObjects', (context) => loadLargeObjects(context))
databaseActivity('startIndexes', (context) => startIndexes(context))
databaseActivity('buildIndexes', (context) => buildIndexes(context))
databaseActivity('replicateSlice', (context) => follow(context))
databaseActivity('cutoverDatabase', (context) => cutoverDatabase(context))
databaseActivity('endDatabase', (context, { outcome }) => endDatabase(context, outcome), { evenIfCanceled: true })

fallbackActivity('followBack', (context) => followBack(context))
fallbackActivity('switchBack', (context) => switchBack(context))
fallbackActivity('endFallback', (context, { failure }) => endFallback(context, failure))
