import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { errorText, isTransient } from '../../../migration/errors.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import type { TestMigration } from '../../support/servers.ts'
import { openContext, type MigrationPlace } from './slice-process.ts'

/** A process that follows slice after slice, as a host does, until it is killed. */
export interface FollowerProcess extends AsyncDisposable {
  child: ChildProcess
  /** The slices that ended with an error. */
  failures: SliceFailure[]
}

export interface SliceFailure {
  text: string
  /** Running the slice again is all that is needed. */
  transient: boolean
}

/** ms of a slice, shorter than in a host, so that their ends are met as well. */
const SLICE_MS = 1_500
/** ms before the next try, as the host's retries have. */
const RETRY_MS = 50

export function startFollowerProcess({ folder, context }: TestMigration): FollowerProcess {
  const place: MigrationPlace = { folder, key: context.key, database: context.database }
  const child = fork(fileURLToPath(import.meta.url), [], { env: { ...process.env, FOLLOWER: JSON.stringify(place) } })
  const failures: SliceFailure[] = []
  child.on('message', (failure) => failures.push(failure as SliceFailure))
  child.on('exit', (code) => {
    // A signal is ours; anything else it did by itself.
    if (code !== null) failures.push({ text: `The process ended with ${code}.`, transient: false })
  })
  return {
    child,
    failures,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

async function main(place: MigrationPlace): Promise<void> {
  process.on('disconnect', () => process.exit())
  const context = await openContext(place)
  for (;;) {
    try {
      const { reason } = await replicateSlice(context, { ms: SLICE_MS })
      if (reason !== 'busy') continue
    } catch (error) {
      process.send!({ text: errorText(error), transient: isTransient(error) } satisfies SliceFailure)
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

const follower = process.env['FOLLOWER']
if (follower !== undefined && process.send) await main(JSON.parse(follower) as MigrationPlace)
