import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { controlSchemaOwner } from '../control/control-schema.ts'
import type { Sample } from '../model/status.ts'
import { keyPart } from '../store/documents.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { connectIfThere } from './target-if-there.ts'

/** One table of a migration, as the list of tables shows it. */
export interface TableStatus {
  schema: string
  table: string
  state: 'queued' | 'loading' | 'completed' | 'errored'
  rowsTotal: number
  rowsDone: number
  bytesTotal: number
  bytesDone: number
  startedAt?: string
  endedAt?: string
  message?: string
}

export interface DatabaseArchive {
  tables: TableStatus[]
  samples: Sample[]
}

/** Points that a plot of a whole migration shows: more is not seen, and an archive stays small. */
const ARCHIVED_SAMPLES = 2_000

const archiveKey = (key: string, database: string): string => `migrations/${key}/archive/${keyPart(database)}`

/** Keeps tables and samples of the control schema beyond its end. Nothing when it is gone already. */
export async function archiveDatabase(context: DatabaseContext): Promise<void> {
  await using target = await connectIfThere(context)
  if (!target || (await controlSchemaOwner(target)) !== context.key) return
  const archive: DatabaseArchive = {
    tables: await readTables(target),
    samples: thin(await readSamples(target, context.database), ARCHIVED_SAMPLES),
  }
  await context.documents.write(archiveKey(context.key, context.database), archive)
}

/** Tables and samples of a database: from its control schema while there is one, else from the archive. */
export async function readDatabaseDetails(context: DatabaseContext, since?: string): Promise<DatabaseArchive> {
  const archived = await context.documents.read<DatabaseArchive>(archiveKey(context.key, context.database))
  if (archived)
    return { ...archived.value, samples: archived.value.samples.filter(({ at }) => since === undefined || at > since) }
  // It has ended without ever having a control schema: there is nothing to ask the target for.
  const { phase } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (phase === 'Ended') return { tables: [], samples: [] }
  await using target = await connectIfThere(context)
  if (!target || (await controlSchemaOwner(target)) !== context.key) return { tables: [], samples: [] }
  return { tables: await readTables(target), samples: await readSamples(target, context.database, since) }
}

/** Every n-th point and the last one. */
export function thin<T>(points: T[], most: number): T[] {
  const step = Math.ceil(points.length / most)
  return step <= 1 ? points : points.filter((_, index) => index % step === 0 || index === points.length - 1)
}

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'`

async function readTables(target: Connection): Promise<TableStatus[]> {
  const { rows } = await target.query<{ row: string }>(`
    select json_strip_nulls(json_build_object(
             'schema', schema_name, 'table', table_name, 'state', state,
             'rowsTotal', case state when 'completed' then rows_done else rows_total end, 'rowsDone', rows_done, 'bytesTotal', bytes_total, 'bytesDone', bytes_done,
             'startedAt', to_char(started_at at time zone 'utc', ${ISO}),
             'endedAt', to_char(ended_at at time zone 'utc', ${ISO}),
             'message', message)) as row
      from pgflex.table_copy
     order by schema_name, table_name`)
  return rows.map(({ row }) => JSON.parse(row) as TableStatus)
}

async function readSamples(target: Connection, database: string, since = '-infinity'): Promise<Sample[]> {
  const { rows } = await target.query<{ row: string }>(
    `select json_build_object(
              'at', to_char(at at time zone 'utc', ${ISO}), 'database', $2::text,
              'latencySeconds', latency_seconds, 'lagBytes', lag_bytes,
              'rowsCopied', rows_copied, 'bytesCopied', bytes_copied, 'changesApplied', changes_applied) as row
       from pgflex.sample
      where at > $1::timestamptz
      order by at`,
    [since, database],
  )
  return rows.map(({ row }) => JSON.parse(row) as Sample)
}
