import type { DatabaseContext } from '../context.ts'
import type { PostDataResult } from './apply-post-data.ts'

/** Tells the user what failed or was left out: as warnings of the database, and as events. */
export async function reportPostData(context: DatabaseContext, { failed, warnings }: PostDataResult): Promise<void> {
  for (const { object, message } of failed) {
    await context.event({ level: 'warning', event: 'ObjectFailed', message: `${object}: ${message}` })
  }
  const failures = failed.map(({ object, message }) => `${object} could not be made on the target: ${message}`)
  await context.status((status) => ({
    ...status,
    warnings: [...new Set([...status.warnings, ...failures, ...warnings])],
  }))
}
