import { connect, type Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { ParameterReport } from '../model/status.ts'
import { id, literal } from '../sql.ts'
import { readServerStatus, updateServerStatus } from '../store/migrations.ts'
import { isListParameter, readDatabaseSettings } from './parameters.ts'

/** Set at cutover by us or by the user, and not meant for the target. */
const NOT_CARRIED = /^(default_transaction_read_only)$/i

/**
 * Gives the target database the settings that the source's database has (`ALTER DATABASE … SET`), and those
 * server parameters that could not be set for the whole server but can be set for one database.
 *
 * @param target our connection to the target database, which our role owns
 */
export async function applyDatabaseSettings(context: DatabaseContext, target: Connection): Promise<void> {
  const { database, record, documents, key } = context
  if (record.properties.pgflex.serverParameters === 'Skip') return
  const settings = await (async () => {
    await using source = await connect(context.endpoint('source'), {
      database,
      purpose: 'parameters',
      settings: 'none',
    })
    return (await readDatabaseSettings(source)).filter(({ name }) => !NOT_CARRIED.test(name))
  })()
  const server = await readServerStatus(documents, key)
  const inherited = (server.parameters ?? []).filter(
    ({ scope, result, targetValue }) => scope === 'server' && result === 'NotSet' && targetValue !== undefined,
  )
  const set = record.properties.pgflex.serverParameters === 'Copy'
  const report: ParameterReport[] = []
  for (const { name, value } of settings) {
    const entry = { name, scope: 'database' as const, database, sourceValue: value }
    if (!set) report.push({ ...entry, result: 'Reported', reason: 'pgflex.serverParameters is "Report".' })
    else report.push({ ...entry, ...(await alterDatabase(target, database, name, value)) })
  }
  const own = new Set(settings.map(({ name }) => name.toLowerCase()))
  for (const { name, sourceValue } of inherited) {
    if (!set || own.has(name.toLowerCase()) || !(await isUserSettable(target, name))) continue
    const outcome = await alterDatabase(target, database, name, sourceValue)
    if (outcome.result === 'Set')
      report.push({
        name,
        scope: 'database',
        database,
        sourceValue,
        result: 'Set',
        reason: 'It could not be set for the server, so it is set for this database.',
      })
  }
  await updateServerStatus(documents, key, (status) => ({
    ...status,
    parameters: [...(status.parameters ?? []).filter((parameter) => parameter.database !== database), ...report],
  }))
}

async function alterDatabase(
  target: Connection,
  database: string,
  name: string,
  value: string,
): Promise<Pick<ParameterReport, 'result' | 'reason'>> {
  try {
    // pg_db_role_setting holds the text of a list already quoted item by item.
    await target.query(
      `alter database ${id(database)} set ${id(...name.split('.'))} = ${isListParameter(name) && value !== '' ? value : literal(value)}`,
    )
    return { result: 'Set' }
  } catch (error) {
    return { result: 'NotSet', reason: errorText(error) }
  }
}

async function isUserSettable(target: Connection, name: string): Promise<boolean> {
  const { rows } = await target.query(`select from pg_settings where name = $1 and context = 'user'`, [name])
  return rows.length > 0
}
