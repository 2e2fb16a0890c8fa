import type { DatabaseContext } from '../context.ts'

/** Without long transactions a slot is there within milliseconds. */
const NOTICE_AFTER_MS = 10_000

/** Says in the status what a new slot waits for, when it takes long; it stops saying so at the end of the block. */
export function waitingForTransactions(context: DatabaseContext): AsyncDisposable {
  let message: string | undefined
  let noticing: Promise<void> = Promise.resolve()
  const timer = setTimeout(() => {
    noticing = (async () => {
      message = await describeOldest(context)
      if (message === undefined) return
      context.log.warn(message, { database: context.database })
      await context.status({ message })
    })().catch((error) =>
      context.log.warn('The transactions of the source could not be read', { error: String(error) }),
    )
  }, NOTICE_AFTER_MS)
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      await noticing
      if (message !== undefined) await clearMessage(context, message)
    },
  }
}

/** Takes a message out of the status, unless another one has taken its place. */
export async function clearMessage(context: DatabaseContext, message: string): Promise<void> {
  await context.status((status) => (status.message === message ? { ...status, message: undefined } : status))
}

async function describeOldest(context: DatabaseContext): Promise<string | undefined> {
  await using source = await context.source('slot wait')
  // Transactions of every database count: the slot waits for all that have a transaction id.
  const { rows } = await source.query<{ name: string; since: string }>(
    `select format('session %s of %s', pid, usename) as name, xact_start::timestamptz(0) as since
       from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
      union all
     select format('prepared transaction %L of %s', gid, owner), prepared::timestamptz(0) from pg_prepared_xacts
      order by since nulls last limit 1`,
  )
  const oldest = rows[0]
  if (!oldest) return undefined
  return (
    `Waiting for the transactions that are running on the source; the oldest is ${oldest.name}, ` +
    `since ${oldest.since}. A replication slot begins when they have ended.`
  )
}
