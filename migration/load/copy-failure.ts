import { errorText, isTransient, MigrationError, sqlState } from '../errors.ts'
import type { Side } from '../store/secrets.ts'
import type { TableName } from './tables.ts'

/** What kept a table from being copied, with PostgreSQL's error as the cause. The text is free of row data. */
export function copyFailure(side: Side, { schema, name }: TableName, error: unknown): MigrationError {
  return new MigrationError('TableCopyFailed', `Copying ${schema}.${name} failed on the ${side}: ${reason(error)}`, {
    retryable: isTransient(error),
    target: side,
    cause: error,
  })
}

/**
 * PostgreSQL's reason. Errors about values (class 22) quote the value in their message, those about constraints
 * (class 23) the row in their detail; the place in the stream is enough to find it, and goes before the value in
 * `where`.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
function reason(error: unknown): string {
  const state = sqlState(error)
  if (state === undefined || !/^2[23]/.test(state)) return errorText(error)
  const { message, where } = error as { message: string; where?: string }
  const text = state.startsWith('22') ? message.replace(/:? ".*"/s, '') : message
  const place = /^COPY [^\n]*?, line \d+(?:, column [^:\n]*)?/.exec(where ?? '')
  return `${text}${place ? `, at ${place[0]}` : ''} (SQLSTATE ${state})`
}
