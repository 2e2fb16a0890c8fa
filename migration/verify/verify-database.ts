import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import type { VerificationReport } from '../model/status.ts'
import { chooseComparison } from './choose-comparison.ts'
import { compareAtMarks } from './compare-at-marks.ts'
import { compareChecksums } from './compare-checksums.ts'
import { compareCounts } from './compare-counts.ts'
import { listComparedTables, type ComparedTable, type TableName } from './compared-table.ts'
import { narrowDifferences } from './narrow-differences.ts'
import { verificationFailure } from './verify-while-following.ts'

/** Connections to each side that compare at the same time. */
const WIDTH = 4
/** Differences in one message before the rest is counted. */
const DIFFERENCES_SHOWN = 5
/** ms to find the rows that differ: the writes on the source wait meanwhile, and are let in again after it. */
const NARROW_MS = 5_000

/**
 * Compares source and target as the migration asks (`pgflex.verify`) and stores the result.
 *
 * @returns the result, and in words what was compared how
 * @throws {MigrationError} VerificationFailed, for an Online migration: writes have stopped, so a difference is real.
 *   An Offline copy is of one moment, and its source may have gone on: there a difference is a warning.
 */
export async function verifyDatabase(
  context: DatabaseContext,
): Promise<{ result: VerificationReport['result']; message: string }> {
  const { properties } = context.record
  const verification = await compare(context)
  await context.status({ verification })
  const message = describe(verification)
  if (verification.result !== 'Different') return { result: verification.result, message }
  const shown = verification.differences
    .slice(0, DIFFERENCES_SHOWN)
    .map(({ table, source, target }) => `${table} (source: ${source}, target: ${target})`)
  const rest = verification.differences.length - shown.length
  const found = `Source and target differ in ${verification.differences.length} tables: ${shown.join('; ')}${rest > 0 ? ` and ${rest} more` : ''}.`
  if (properties.migrationMode === 'Online') {
    throw new MigrationError('VerificationFailed', found, {
      hint: 'If writes went on after they were meant to have stopped, stop them and cut over again; else cancel, and migrate this database anew.',
    })
  }
  await context.status((status) => ({ ...status, warnings: [...status.warnings, found] }))
  return { result: verification.result, message }
}

async function compare(context: DatabaseContext): Promise<VerificationReport> {
  const mode = context.record.properties.pgflex.verify
  if (mode === 'None') return { mode, result: 'Skipped', tables: 0, rows: 0, seconds: 0, differences: [] }
  const source = (): Promise<Connection> => endOnAbort(context.source('verification'), context.draining)
  const target = (): Promise<Connection> => endOnAbort(context.target('verification'), context.draining)
  const tables = await tablesToCompare(context)
  if (mode === 'Counts') return await compareCounts(source, target, tables, WIDTH)
  const began = performance.now()
  const { atMarks, whole } = await chooseComparison(context, tables)
  const all = await compareChecksums(source, target, whole, WIDTH)
  if (all.result === 'Different') await nameRows(context, whole, all)
  const marked = await compareAtMarks(source, target, atMarks, WIDTH)
  const differences = [...all.differences, ...marked.differences]
  return {
    mode,
    result: differences.length === 0 ? 'Equal' : 'Different',
    tables: tables.length,
    rows: all.rows + marked.rows,
    seconds: Math.round(performance.now() - began) / 1000,
    differences: differences.toSorted((a, b) => (a.table < b.table ? -1 : 1)),
    atMarks: { tables: atMarks.length, rows: marked.rows },
    whole: { tables: whole.length, rows: all.rows },
  }
}

function describe({ mode, tables, rows, atMarks, whole }: VerificationReport): string {
  if (mode === 'None') return 'Nothing was compared.'
  if (!atMarks || !whole) return `${mode} of ${tables} tables with ${rows} rows.`
  const before = `Of ${atMarks.tables} tables that had been compared before, the ${atMarks.rows} rows changed since`
  const rest = `${whole.tables} tables whole, with ${whole.rows} rows`
  return `${[...(atMarks.tables > 0 ? [before] : []), ...(whole.tables > 0 || atMarks.tables === 0 ? [rest] : [])].join('; ')}.`
}

/** Which rows differ helps to find out why. Not to find it must not hide that they do. */
async function nameRows(
  context: DatabaseContext,
  tables: TableName[],
  { differences }: VerificationReport,
): Promise<void> {
  try {
    await using source = await endOnAbort(context.source('verification'), context.draining)
    await using target = await endOnAbort(context.target('verification'), context.draining)
    await narrowDifferences(source, target, tables, differences, NARROW_MS)
  } catch (error) {
    context.draining.throwIfAborted()
    const { database } = context
    context.log.warn('The rows that differ were not all found', { database, error: verificationFailure(error) })
  }
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

async function tablesToCompare(context: DatabaseContext): Promise<ComparedTable[]> {
  await using source = await context.source('verification')
  const included = tableFilter(context.record.properties.pgflex)
  return (await listComparedTables(source)).filter(({ schema, name }) => included(schema, name))
}
