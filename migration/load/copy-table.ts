import { checkFence, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import { id } from '../sql.ts'
import { copyFailure } from './copy-failure.ts'
import type { CopyFormat } from './copy-format.ts'
import { relayCopies, RelayError } from './copy-relay.ts'
import type { CopySessions } from './copy-session.ts'
import { copiedColumns, type SourceTable } from './tables.ts'

export interface CopyTableOptions {
  format: CopyFormat
  /** Rows arrive frozen, so that no VACUUM has to touch them again. */
  freeze: boolean
  /** Snapshot to read under, as pg_export_snapshot or the slot gave it. */
  snapshot: string
  /** P(t), which is stored with the data; undefined for Offline. */
  lsn?: string
  lease: Pick<Lease, 'name' | 'fence'>
  /** Called for each piece of the stream; returns how long to wait before the next one, ms. */
  onBytes: (bytes: number) => number | void
}

/**
 * Copies one table: on the target everything is in one transaction, the data and the mark that says "completed at
 * P". A copy that dies leaves the table as it was; a copy that runs twice truncates what the first one brought.
 *
 * The sessions are of no use after an error: cut them.
 *
 * @returns rows that were written, and bytes of the stream
 * @throws {MigrationError} TableCopyFailed with PostgreSQL's error as its cause, SnapshotLost, LeaseLost, RowsMissing
 */
export async function copyTable(
  { reader, writer }: Pick<CopySessions, 'reader' | 'writer'>,
  table: SourceTable,
  options: CopyTableOptions,
): Promise<PipedRows> {
  await Promise.all([
    beginRead(reader, options.snapshot),
    inWords('target', table, writer.query(`begin; truncate only ${id(table.schema, table.name)}`)),
  ])
  const copied = await pipeTable({ reader, writer }, table, options)
  await Promise.all([
    // A transaction of its own for each table: locks are held no longer than needed, and never very many.
    reader.query('commit'),
    // At the end, not at the beginning: the fence holds the lease's row, which the holder has to renew meanwhile.
    checkFence(writer, options.lease),
  ])
  checkRows(table, copied)
  await writer.query(
    `update pgflex.table_copy
        set state = 'completed', snapshot_lsn = $3, rows_done = $4, bytes_done = $5, ended_at = clock_timestamp(),
            message = null
      where schema_name = $1 and table_name = $2`,
    [table.schema, table.name, options.lsn ?? null, copied.rows, copied.bytes],
  )
  await writer.query('commit')
  return copied
}

/**
 * Begins to read under an exported snapshot, which exists as long as the transaction that exported it.
 * https://www.postgresql.org/docs/current/sql-set-transaction.html
 */
export async function beginRead(reader: SourceReader, snapshot: string): Promise<void> {
  // The names of servers, which may have passed through the control schema: nothing else gets into the statement.
  if (!/^[\w-]+$/.test(snapshot)) throw new TypeError(`${snapshot} is no name of a snapshot`)
  try {
    await reader.query(`begin isolation level repeatable read read only; set transaction snapshot '${snapshot}'`)
  } catch (error) {
    if (isTransient(error)) throw error
    throw new MigrationError('SnapshotLost', `The snapshot on the source is gone: ${errorText(error)}.`, {
      retryable: true,
      target: 'source',
      cause: error,
    })
  }
}

type SourceReader = CopySessions['reader']

export interface PipedRows {
  /** Rows that the target has written. */
  rows: number
  /** Of the stream. */
  bytes: number
  /** Rows that the source has sent; known when the reader has answered its next query. */
  sent: () => number
}

/** Moves the rows of a table inside the transactions that are open on both sides. */
export async function pipeTable(
  sessions: Pick<CopySessions, 'reader' | 'writer'>,
  table: SourceTable,
  options: Pick<CopyTableOptions, 'format' | 'freeze' | 'onBytes'>,
): Promise<PipedRows> {
  // COPY of a table reads the table alone, not what inherits from it:
  // https://www.postgresql.org/docs/current/sql-copy.html
  const relation = `${id(table.schema, table.name)}${columnList(table)}`
  return await relay(sessions, table, { read: relation, write: relation }, options)
}

/** @param copy what COPY reads and writes: a table with its columns, or a query in parentheses */
export async function relay(
  { reader, writer }: Pick<CopySessions, 'reader' | 'writer'>,
  table: SourceTable,
  copy: { read: string; write: string },
  { format, freeze, onBytes }: Pick<CopyTableOptions, 'format' | 'freeze' | 'onBytes'>,
): Promise<PipedRows> {
  let bytes = 0
  try {
    const { sent, written } = await relayCopies(
      { reader, writer },
      {
        read: `copy ${copy.read} to stdout (format ${format})`,
        write: `copy ${copy.write} from stdin (format ${format}${freeze ? ', freeze' : ''})`,
        onBytes(length) {
          bytes += length
          return onBytes(length)
        },
      },
    )
    return { rows: written[0]!, bytes, sent: () => sent[0]! }
  } catch (error) {
    if (error instanceof RelayError) throw copyFailure(error.side, table, error.cause)
    throw error
  }
}

/**
 * Both servers count for themselves. A trigger of the target that passes rows over, for instance, loses them silently.
 *
 * @throws {MigrationError} RowsMissing
 */
export function checkRows({ schema, name }: SourceTable, { rows, sent }: PipedRows): void {
  if (rows === sent()) return
  throw new MigrationError(
    'RowsMissing',
    `The source sent ${sent()} rows of ${schema}.${name}, and the target has written ${rows}.`,
    {
      hint: 'Look for triggers on the table of the target that drop rows, and disable them for the migration.',
      target: 'target',
    },
  )
}

/**
 * All columns by name. Without a list, COPY takes all but generated columns, which is right for a table that has no
 * others.
 */
export function columnList(table: SourceTable): string {
  const columns = copiedColumns(table)
  return columns.length === 0 ? '' : ` (${columns.map(({ name }) => id(name)).join(', ')})`
}

async function inWords<T>(side: 'source' | 'target', table: SourceTable, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw copyFailure(side, table, error)
  }
}
