import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import type { VerificationReport } from '../model/status.ts'
import { compareChecksums } from './compare-checksums.ts'
import { compareCounts } from './compare-counts.ts'
import { listComparedTables } from './compared-table.ts'

/** Pairs of connections that compare at the same time. */
const WIDTH = 2
/** Differences in one message before the rest is counted. */
const DIFFERENCES_SHOWN = 5

/**
 * Compares source and target as the migration asks (`pgflex.verify`) and stores the result.
 *
 * @throws {MigrationError} VerificationFailed, for an Online migration: writes have stopped, so a difference is real.
 *   An Offline copy is of one moment, and its source may have gone on: there a difference is a warning.
 */
export async function verifyDatabase(context: DatabaseContext): Promise<{ result: VerificationReport['result'] }> {
  const { properties } = context.record
  const mode = properties.pgflex.verify
  const verification: VerificationReport =
    mode === 'None'
      ? { mode, result: 'Skipped', tables: 0, rows: 0, seconds: 0, differences: [] }
      : await (mode === 'Counts' ? compareCounts : compareChecksums)(
          () => endOnAbort(context.source('verification'), context.draining),
          () => endOnAbort(context.target('verification'), context.draining),
          await tablesToCompare(context),
          WIDTH,
        )
  await context.status({ verification })
  if (verification.result !== 'Different') return { result: verification.result }
  const shown = verification.differences
    .slice(0, DIFFERENCES_SHOWN)
    .map(({ table, source, target }) => `${table} (source: ${source}, target: ${target})`)
  const rest = verification.differences.length - shown.length
  const message = `Source and target differ in ${verification.differences.length} tables: ${shown.join('; ')}${rest > 0 ? ` and ${rest} more` : ''}.`
  if (properties.migrationMode === 'Online') {
    throw new MigrationError('VerificationFailed', message, {
      hint: 'If writes went on after they were meant to have stopped, stop them and cut over again; else cancel, and migrate this database anew.',
    })
  }
  await context.status((status) => ({ ...status, warnings: [...status.warnings, message] }))
  return { result: verification.result }
}

/** A comparison of hours ends at once when the user cancels: its connection is cut. */
async function endOnAbort(opening: Promise<Connection>, signal: AbortSignal): Promise<Connection> {
  const connection = await opening
  const end = (): void => void connection.end().catch(() => {})
  signal.addEventListener('abort', end, { once: true })
  connection.once('end', () => signal.removeEventListener('abort', end))
  if (signal.aborted) end()
  return connection
}

async function tablesToCompare(context: DatabaseContext): Promise<{ schema: string; name: string }[]> {
  await using source = await context.source('verification')
  const included = tableFilter(context.record.properties.pgflex)
  return (await listComparedTables(source)).filter(({ schema, name }) => included(schema, name))
}
