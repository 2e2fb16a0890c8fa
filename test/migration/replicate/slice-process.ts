import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseContext, serverContext, type DatabaseContext } from '../../../migration/context.ts'
import { errorText } from '../../../migration/errors.ts'
import { silentLogger } from '../../../migration/log.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import { parseLsn } from '../../../migration/lsn.ts'
import { fileDocuments } from '../../../migration/store/file-documents.ts'
import { fileSecrets } from '../../../migration/store/file-secrets.ts'
import type { TestMigration } from '../../support/servers.ts'

/** What a slice in a process of its own came to. */
export interface SliceOutcome {
  reason?: string
  error?: string
  /** Greatest resident size of the process, KB. */
  maxRss: number
  /** KB before the slice began. */
  beginRss: number
}

export interface SliceProcess extends AsyncDisposable {
  child: ChildProcess
  outcome: Promise<SliceOutcome>
}

/** Runs a slice in another process, which can be stopped and killed like one. */
export function startSliceProcess(
  { folder, context }: TestMigration,
  options: { ms: number; until?: string },
  execArgv: string[] = [],
): SliceProcess {
  const child = fork(fileURLToPath(import.meta.url), [], {
    execArgv,
    env: {
      ...process.env,
      SLICE: JSON.stringify({ folder, key: context.key, database: context.database, ...options }),
    },
  })
  const outcome = Promise.race([
    once(child, 'message').then(([message]) => message as SliceOutcome),
    once(child, 'exit').then(([code, signal]): SliceOutcome => ({
      error: `exit ${code ?? signal}`,
      maxRss: 0,
      beginRss: 0,
    })),
  ])
  return {
    child,
    outcome,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
    },
  }
}

/** Where another process finds a migration. */
export interface MigrationPlace {
  folder: string
  key: string
  database: string
}

export async function openContext({ folder, key, database }: MigrationPlace): Promise<DatabaseContext> {
  const surroundings = {
    documents: fileDocuments(join(folder, 'documents')),
    secrets: fileSecrets(join(folder, 'secrets')),
    log: silentLogger,
    draining: new AbortController().signal,
  }
  return databaseContext(await serverContext(surroundings, key), database)
}

async function main({ ms, until, ...place }: MigrationPlace & { ms: number; until?: string }): Promise<void> {
  const context = await openContext(place)
  const beginRss = process.resourceUsage().maxRSS
  let outcome: Pick<SliceOutcome, 'reason' | 'error'>
  try {
    const { reason } = await replicateSlice(context, { ms, ...(until === undefined ? {} : { until: parseLsn(until) }) })
    outcome = { reason }
  } catch (error) {
    outcome = { error: errorText(error) }
  }
  process.send!({ ...outcome, beginRss, maxRss: process.resourceUsage().maxRSS } satisfies SliceOutcome, () =>
    process.exit(0),
  )
}

const slice = process.env['SLICE']
if (slice !== undefined && process.send) await main(JSON.parse(slice) as Parameters<typeof main>[0])
