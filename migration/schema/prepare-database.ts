import type { DatabaseContext } from '../context.ts'
import { applyDatabaseSettings } from '../server/apply-database-settings.ts'
import { updateServerStatus } from '../store/migrations.ts'
import { applyPreData } from './apply-pre-data.ts'
import { createTargetDatabase } from './create-database.ts'
import { loosenIdentityColumns } from './identity-columns.ts'

/** Makes the target database with its settings and everything that stands before the data. Idempotent. */
export async function prepareDatabase(context: DatabaseContext): Promise<object> {
  await updateServerStatus(context.documents, context.key, { phase: 'Migrating' })
  await context.status((status) => ({
    ...status,
    phase: 'PreparingSchema',
    startedOn: status.startedOn ?? new Date().toISOString(),
  }))
  await createTargetDatabase(context)
  {
    await using target = await context.target('settings')
    await applyDatabaseSettings(context, target)
  }
  const { statements, failed, warnings } = await applyPreData(context)
  if (context.record.properties.migrationMode === 'Online') {
    await using target = await context.target('schema')
    await loosenIdentityColumns(target)
  }
  await context.status((status) => ({ ...status, warnings: [...new Set([...status.warnings, ...warnings])] }))
  await context.event({
    level: failed > 0 ? 'warning' : 'info',
    event: 'SchemaPrepared',
    message: `${statements} statements of the schema were applied${failed > 0 ? `, ${failed} failed` : ''}.`,
  })
  return {}
}
