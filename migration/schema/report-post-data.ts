import type { DatabaseContext } from '../context.ts'
import type { PostDataResult } from './apply-post-data.ts'

/** Tells the user what failed or was left out: as warnings of the database, and as events. */
export async function reportPostData(context: DatabaseContext, { failed, warnings }: PostDataResult): Promise<void> {
  for (const { object, message } of failed) {
    await context.event({ level: 'warning', event: 'ObjectFailed', message: `${object}: ${message}` })
  }
  await context.status((status) => ({
    ...status,
    warnings: [...new Set([...status.warnings, ...failed.map(failureWarning), ...warnings])],
  }))
}

/** The warning of an object that could not be made; with an empty message, what all of them begin with. */
export function failureWarning({ object, message }: { object: string; message: string }): string {
  return `${object} could not be made on the target: ${message}`
}
