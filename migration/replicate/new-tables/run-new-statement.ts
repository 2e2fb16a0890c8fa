import type { Connection } from '../../connect.ts'
import { errorText, isTransient, MigrationError, sqlState } from '../../errors.ts'
import { skipReason, withRightOnSchema } from '../../schema/apply-pre-data.ts'
import type { TargetRoles } from '../../schema/roles.ts'
import type { SchemaStatement } from '../../schema/split.ts'
import { objectTitle } from '../../schema/statements.ts'

/**
 * Runs a statement of pg_dump that makes something new while changes are followed, inside a transaction of the caller.
 * Owners, grants and comments that can't be had are no reason to go without the object.
 *
 * @throws {MigrationError} NewTableFailed
 */
export async function runNewStatement(
  session: Connection,
  statement: SchemaStatement,
  roles: TargetRoles,
): Promise<void> {
  if (skipReason(statement, roles) !== undefined) return
  let text = statement.sql
  for (;;) {
    try {
      await session.query(`savepoint statement;\n${text};\nrelease savepoint statement`)
      return
    } catch (error) {
      if (isTransient(error) || sqlState(error) === undefined) throw error
      await session.query('rollback to savepoint statement')
      const again = text === statement.sql ? withRightOnSchema(statement, error) : undefined
      if (again !== undefined) {
        text = again
        continue
      }
      if (/^(OWNER OF|COMMENT ON|SECURITY LABEL ON|ACL ON|SEQUENCE OWNED) /.test(statement.kind)) return
      throw new MigrationError(
        'NewTableFailed',
        `${objectTitle(statement)} could not be made on the target: ${errorText(error)}`,
        { hint: 'Make there what it needs (a type, a function, an extension).', target: 'target', cause: error },
      )
    }
  }
}
