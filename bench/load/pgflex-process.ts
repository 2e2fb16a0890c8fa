/**
 * The load activities of a migration in a process of their own, as the orchestration calls them, and what it leaves
 * for the cutover besides: foreign keys and what fires or checks.
 */
import { join } from 'node:path'
import { databaseContext, serverContext, type DatabaseContext } from '../../migration/context.ts'
import { errorText } from '../../migration/errors.ts'
import { copyTables } from '../../migration/load/copy-tables.ts'
import { loadLargeObjects } from '../../migration/load/large-objects.ts'
import { planDatabaseLoad } from '../../migration/load/plan-database-load.ts'
import { silentLogger } from '../../migration/log.ts'
import { createSlot } from '../../migration/replicate/create-slot.ts'
import { applyPostData } from '../../migration/schema/apply-post-data.ts'
import { buildIndexes } from '../../migration/schema/build-indexes.ts'
import { startIndexes } from '../../migration/schema/start-indexes.ts'
import { prepareDatabase } from '../../migration/schema/prepare-database.ts'
import { validateForeignKeys } from '../../migration/schema/validate-foreign-keys.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import { fileSecrets } from '../../migration/store/file-secrets.ts'
import { ownPeakBytes } from '../process-stat.ts'
import type { Use } from '../process-watch.ts'

export interface Begin {
  folder: string
  key: string
  database: string
}

export interface Step {
  seconds: number
  /** The most memory that the process had held by its end. */
  peakRssBytes: number
}
export type Steps = Record<'schema' | 'slot' | 'plan' | 'data' | 'indexes' | 'constraints', Step>
export type Ended = { use: Use; steps: Steps; width: number; dataSeconds: number } | { error: string }

async function load(context: DatabaseContext): Promise<{ steps: Steps; width: number; dataSeconds: number }> {
  const steps: Partial<Steps> = {}
  const step = async <T>(name: keyof Steps, work: () => Promise<T>): Promise<T> => {
    const began = performance.now()
    const result = await work()
    steps[name] = { seconds: (performance.now() - began) / 1000, peakRssBytes: ownPeakBytes() }
    return result
  }
  const online = context.record.properties.migrationMode === 'Online'
  await step('schema', () => prepareDatabase(context))
  await step('slot', async () => online && (await createSlot(context)))
  const { width } = await step('plan', () => planDatabaseLoad(context))
  await step('data', async () => {
    await copyAllTables(context, width, online)
    await loadLargeObjects(context)
  })
  await step('indexes', () => buildIndexes(context))
  await step('constraints', async () => {
    const results = [await applyPostData(context, 'cutover'), await validateForeignKeys(context)]
    const failed = results.flatMap((result) => result.failed)
    if (failed.length > 0) throw new Error(failed.map(({ object, message }) => `${object}: ${message}`).join('; '))
  })
  return { steps: steps as Steps, width, dataSeconds: await copySeconds(context) }
}

/** From the first table's beginning to the last one's end: indexes are built beside the data and after it. */
async function copySeconds(context: DatabaseContext): Promise<number> {
  await using target = await context.target('benchmark')
  const { rows } = await target.query<{ seconds: string }>(
    `select extract(epoch from max(ended_at) - min(started_at)) as seconds from pgflex.table_copy`,
  )
  return Number(rows[0]!.seconds)
}

/** As orchestrations/migrate-database.ts does it. */
async function copyAllTables(context: DatabaseContext, width: number, online: boolean): Promise<void> {
  const workers = Array.from({ length: width }, (_, worker) => copyTables(context, { worker }))
  await Promise.all([...workers, ...(online ? [startIndexes(context)] : [])])
  const { errored, remaining } = await copyTables(context, { worker: 0 })
  if (errored > 0 || remaining > 0) throw new Error(`${errored} tables were given up, ${remaining} remain.`)
}

async function run({ folder, key, database }: Begin): Promise<Ended> {
  const before = process.cpuUsage()
  try {
    const surroundings = {
      documents: fileDocuments(join(folder, 'documents')),
      secrets: fileSecrets(join(folder, 'secrets')),
      log: silentLogger,
      draining: new AbortController().signal,
    }
    const { steps, width, dataSeconds } = await load(databaseContext(await serverContext(surroundings, key), database))
    const { user, system } = process.cpuUsage(before)
    const peakRssBytes = ownPeakBytes()
    return { use: { userSeconds: user / 1e6, systemSeconds: system / 1e6, peakRssBytes }, steps, width, dataSeconds }
  } catch (error) {
    return { error: errorText(error) }
  }
}

// Ctrl-C reaches all processes of a terminal: the parent ends this one.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(1))
process.on('message', (message: Begin) => {
  void run(message).then((ended) => process.send!(ended, () => process.exit(0)))
})
process.send!('ready')
