import { expect } from 'vitest'
import type { BackgroundComparison, VerificationReport } from '../../../migration/model/status.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { verifyDatabase } from '../../../migration/verify/verify-database.ts'
import type { Following } from '../replicate/following.ts'

/** ms; it ends as soon as the comparison does. */
const SLICE_MS = 60_000

/** Follows until the comparison in the background has ended. */
export async function comparedInBackground(following: Pick<Following, 'context'>): Promise<BackgroundComparison> {
  const { context } = following
  await context.status({ comparison: undefined })
  const drain = new AbortController()
  const slice = follow({ ...context, sliceMs: SLICE_MS, draining: drain.signal })
  let ended = false
  const end = slice.finally(() => {
    ended = true
  })
  try {
    for (;;) {
      const { comparison } = await statusOf(following)
      if (comparison?.running === false) return comparison
      expect(ended).toBe(false)
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
  } finally {
    drain.abort()
    await end
  }
}

export async function statusOf({ context }: Pick<Following, 'context'>) {
  return await readDatabaseStatus(context.documents, context.key, context.database)
}

/** What the comparison of a cutover says when everything is on the target. */
export async function cutoverComparison(following: Following): Promise<VerificationReport & { error?: string }> {
  await following.catchUp()
  const error = await verifyDatabase(following.context).then(
    () => undefined,
    (reason: unknown) => (reason as { code?: string }).code ?? String(reason),
  )
  const { verification } = await statusOf(following)
  return { ...verification!, ...(error === undefined ? {} : { error }) }
}

/** Runs SQL on the target, as somebody who has no business there. */
export async function onTarget({ context }: Pick<Following, 'context'>, sql: string): Promise<void> {
  await using target = await context.target('test')
  await target.query(`set search_path = public; ${sql}`)
}
