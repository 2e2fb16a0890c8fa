import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { unlessAborted, watchForSilence } from '../control/silence.ts'
import { sourceSilent } from '../replicate/source-trouble.ts'

/** ms; as often as a lease is renewed, by which a target that hangs is found. */
const ASK_MS = 6_000

/**
 * Works while the source answers. After a failover to another machine no session may tell for a quarter of an hour that
 * it is dead, and the freeze is there on the new primary as well.
 *
 * @throws {MigrationError} SourceSilent (retryable), and what the work throws
 */
export async function whileSourceAnswers(context: DatabaseContext, work: () => Promise<void>): Promise<void> {
  const silent = new AbortController()
  let session: Connection | undefined = await context.source('cutover watch')
  using _watch = watchForSilence({
    everyMs: ASK_MS,
    async ask() {
      try {
        session ??= await context.source('cutover watch')
        await session.query('select')
      } catch {
        // One that refuses is told by the sessions that work.
        void session?.[Symbol.asyncDispose]()
        session = undefined
      }
    },
    onSilent: (ms) => silent.abort(sourceSilent(ms)),
  })
  try {
    await unlessAborted(silent.signal, work())
  } finally {
    // It is not waited for: writes are let in first.
    void session?.[Symbol.asyncDispose]()
  }
}
