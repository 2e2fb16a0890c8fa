import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { follow } from '../../../migration/replicate/follow.ts'
import type { TestMigration } from '../../support/servers.ts'
import { openContext, type MigrationPlace } from '../replicate/slice-process.ts'

/** A process that follows and compares in the background, slice after slice, as a host does, until it is killed. */
export interface BackgroundProcess extends AsyncDisposable {
  child: ChildProcess
}

/** ms of a slice. */
const SLICE_MS = 5_000
/** ms before the next try, as the host's retries have. */
const RETRY_MS = 50

export function startBackgroundProcess({ folder, context }: TestMigration): BackgroundProcess {
  const place: MigrationPlace = { folder, key: context.key, database: context.database }
  const child = fork(fileURLToPath(import.meta.url), [], { env: { ...process.env, COMPARER: JSON.stringify(place) } })
  return {
    child,
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
    // Whatever ends a slice, the next one goes on.
    await follow({ ...context, sliceMs: SLICE_MS }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

const place = process.env['COMPARER']
if (place !== undefined && process.send) await main(JSON.parse(place) as MigrationPlace)
