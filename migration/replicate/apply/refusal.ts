import { MigrationError, sqlState } from '../../errors.ts'
import { formatLsn } from '../../lsn.ts'
import type { StatementRefused } from './target-transaction.ts'

/** `schema.table` that a refused statement was about; a deferred constraint says it itself. */
export function refusedTable({ statement, cause }: StatementRefused): string | undefined {
  if (statement?.plan) return `${statement.plan.schema}.${statement.plan.table}`
  const { schema, table } = cause as { schema?: string; table?: string }
  return schema === undefined || table === undefined ? undefined : `${schema}.${table}`
}

/** The error for a change that the target refuses also in the order of the source. */
export function applyRefused(refused: StatementRefused): MigrationError {
  const { statement, cause } = refused
  const table = refusedTable(refused)
  const row = statement?.row === undefined ? '' : ` (${statement.row()})`
  const lsn = statement?.lsn === undefined ? '' : `, in the transaction that committed at ${formatLsn(statement.lsn)}`
  return new MigrationError(
    'ApplyRefused',
    `The target refused ${statement?.kind ?? 'a change'}${table === undefined ? '' : ` of ${table}`}${row}${lsn}: ${refused.message}.`,
    {
      hint:
        sqlState(cause)?.startsWith('23') === true
          ? 'Compare the constraints of the table and its rows on both sides; something else may have written to the target. Once that is put right, replication goes on from here.'
          : 'Make the definition of the table on the target the same as on the source; replication goes on from here.',
      target: 'target',
      cause,
    },
  )
}
