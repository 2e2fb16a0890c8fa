import { connect, type Connection } from '../connect.ts'
import type { ServerContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { ParameterReport } from '../model/status.ts'
import { id, literal } from '../sql.ts'
import { updateServerStatus } from '../store/migrations.ts'
import { majorVersion } from '../validate/server-facts.ts'
import { MAINTENANCE_DATABASE } from '../validate/target-databases.ts'
import type { ConfigurationWriter } from './configuration-writer.ts'
import { isListParameter, isSizedByMachine, readChangedParameters, type Parameter } from './parameters.ts'

/**
 * Lists what differs from the default on the source, and sets on the target what it lets us set: through
 * Azure's configurations of a flexible server, else by `ALTER SYSTEM`. The rest is reported with the reason.
 */
export async function copyServerParameters(context: ServerContext, writer?: ConfigurationWriter): Promise<object> {
  const { record, documents, key } = context
  await updateServerStatus(documents, key, { phase: 'CopyingParameters' })
  const database = record.properties.dbsToMigrate[0]!
  const parameters = await (async () => {
    await using source = await connect(context.endpoint('source'), {
      database,
      purpose: 'parameters',
      settings: 'none',
    })
    return await readChangedParameters(source)
  })()
  await using target = await connect(context.endpoint('target'), {
    database: MAINTENANCE_DATABASE,
    purpose: 'parameters',
    settings: 'none',
  })
  const set = record.properties.pgflex.serverParameters === 'Copy'
  const report: ParameterReport[] = []
  const configurations =
    writer && new Map((await writer.list()).map((configuration) => [configuration.name, configuration]))
  for (const parameter of parameters) {
    const current = await currentValue(target, parameter.name)
    const base = {
      name: parameter.name,
      scope: 'server' as const,
      sourceValue: parameter.value,
      ...(current === undefined ? {} : { targetValue: current }),
    }
    if (current === undefined)
      report.push({ ...base, result: 'NotSet', reason: 'The target has no parameter of this name.' })
    else if (current === parameter.value) report.push({ ...base, result: 'Equal' })
    else if (isSizedByMachine(parameter.name))
      report.push({ ...base, result: 'Reported', reason: "It follows the server's size: choose it for the target." })
    else if (!set) report.push({ ...base, result: 'Reported', reason: 'pgflex.serverParameters is "Report".' })
    else if (writer && configurations)
      report.push({ ...base, ...(await setConfiguration(writer, configurations, parameter)) })
    else report.push({ ...base, ...(await alterSystem(target, parameter)) })
  }
  if (report.some(({ result }) => result === 'Set')) await reload(target)
  await updateServerStatus(documents, key, { parameters: report })
  await context.event({
    level: 'info',
    event: 'ServerParameters',
    message: `${report.length} server parameters differ from their defaults on the source; ${report.filter(({ result }) => result === 'Set' || result === 'NeedsRestart').length} were set on the target.`,
  })
  return {}
}

type Outcome = Pick<ParameterReport, 'result' | 'reason'>

async function currentValue(target: Connection, name: string): Promise<string | undefined> {
  const { rows } = await target.query<{ value: string | null }>('select current_setting($1, true) as value', [name])
  return rows[0]?.value ?? undefined
}

async function setConfiguration(
  writer: ConfigurationWriter,
  configurations: Map<string, Awaited<ReturnType<ConfigurationWriter['list']>>[number]>,
  { name, setting }: Parameter,
): Promise<Outcome> {
  const configuration = configurations.get(name)
  if (!configuration) return { result: 'NotSet', reason: 'Flexible server does not offer this parameter.' }
  if (configuration.isReadOnly) return { result: 'NotSet', reason: 'It is read-only on flexible server.' }
  try {
    await writer.set(name, setting)
  } catch (error) {
    return { result: 'NotSet', reason: errorText(error) }
  }
  return configuration.isDynamicConfig
    ? { result: 'Set' }
    : { result: 'NeedsRestart', reason: 'It takes effect when the flexible server is restarted.' }
}

/** https://www.postgresql.org/docs/current/sql-altersystem.html: superusers, or from 15 on roles with the privilege. */
async function alterSystem(target: Connection, { name, value, context }: Parameter): Promise<Outcome> {
  const statement = `alter system set ${id(name)} = ${isListParameter(name) ? value : literal(value)}`
  if (!(await mayAlterSystem(target, name))) {
    return {
      result: 'NotSet',
      reason: `Our role on the target may not set it for the server. Run there as an administrator: ${statement};`,
    }
  }
  try {
    await target.query(statement)
  } catch (error) {
    return { result: 'NotSet', reason: errorText(error) }
  }
  return context === 'postmaster'
    ? { result: 'NeedsRestart', reason: 'It takes effect when the target is restarted.' }
    : { result: 'Set' }
}

async function mayAlterSystem(target: Connection, name: string): Promise<boolean> {
  const { rows } = await target.query<{ version: string; superuser: string }>(
    `select current_setting('server_version_num') as version, rolsuper as superuser from pg_catalog.pg_roles where rolname = current_user`,
  )
  const { version, superuser } = rows[0]!
  if (superuser === 't') return true
  if (majorVersion(Number(version)) < 15) return false
  const privilege = await target.query<{ allowed: string }>(
    `select has_parameter_privilege($1, 'alter system') as allowed`,
    [name],
  )
  return privilege.rows[0]!.allowed === 't'
}

/** Without the right to reload, the values wait for the administrator's next reload. */
async function reload(target: Connection): Promise<void> {
  await target.query('select pg_reload_conf()').catch(() => {})
}
