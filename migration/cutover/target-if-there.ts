import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'

/** A connection to the target database, or undefined when it was never made. */
export async function connectIfThere(context: DatabaseContext): Promise<Connection | undefined> {
  try {
    return await context.target('clean-up')
  } catch (error) {
    if (error instanceof MigrationError && error.code === 'TargetDatabaseMissing') return undefined
    throw error
  }
}
