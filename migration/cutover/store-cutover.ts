import type { ServerContext } from '../context.ts'
import { isAsked } from '../model/record.ts'
import { canCutOver } from '../status.ts'
import { readDatabaseStatus, updateRecord } from '../store/migrations.ts'

/**
 * Stores a cutover that came as an event of the orchestration, so that it outlives every restart. A cutover
 * that came by the resource is stored already, and asking twice is asking once.
 *
 * @param databases names from outside, not checked yet; all databases when it is no list
 */
export async function storeCutover(context: ServerContext, databases: unknown): Promise<object> {
  const at = new Date().toISOString()
  const asked = Array.isArray(databases) ? databases : undefined
  const refused: string[] = []
  const wanted = context.record.properties.dbsToMigrate.filter((name) => asked === undefined || asked.includes(name))
  for (const name of wanted) {
    const status = await readDatabaseStatus(context.documents, context.key, name)
    // The resource has refused nothing that it has stored.
    if (!isAsked(context.record, 'cutover', name) && !canCutOver(context.record, status)) refused.push(name)
  }
  const record = await updateRecord(context.documents, context.key, (current) => {
    const names = wanted.filter((name) => !refused.includes(name))
    const added = Object.fromEntries(names.map((name) => [name, { at, force: false }]))
    return { ...current, requests: { ...current.requests, cutover: { ...added, ...current.requests.cutover } } }
  })
  if (refused.length > 0) {
    await context.event({
      level: 'warning',
      event: 'CutoverRefused',
      message: `The Cutover event came too early for ${refused.join(', ')}: a database has to follow, with a latency within the limit.`,
    })
  }
  const unknown = asked?.filter((name) => !record.properties.dbsToMigrate.includes(name as string)) ?? []
  if (unknown.length > 0) {
    await context.event({
      level: 'warning',
      event: 'UnknownDatabase',
      message: `The Cutover event names databases that are not migrated here: ${unknown.map(String).join(', ')}.`,
    })
  }
  return {}
}
