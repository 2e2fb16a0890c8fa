/**
 * pgflex in a process of its own, so that its processor time, memory and profile are its own. It takes the
 * place of the migration from its folder, and begins when it is told to.
 */
import { join } from 'node:path'
import { databaseContext, serverContext } from '../../migration/context.ts'
import { errorText } from '../../migration/errors.ts'
import { silentLogger } from '../../migration/log.ts'
import { parseLsn } from '../../migration/lsn.ts'
import { replicateSlice } from '../../migration/replicate/replicate-slice.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import { fileSecrets } from '../../migration/store/file-secrets.ts'
import { ownPeakBytes } from '../process-stat.ts'
import type { OwnUse } from './applier.ts'

export interface Begin {
  folder: string
  key: string
  database: string
  /** Text of an LSN: drain up to it. Without it, follow in slices of 30 s until `stop` is sent. */
  until?: string
}

export type Ended = { use: OwnUse } | { error: string }

/** ms; longer than any backlog takes. */
const DRAIN_MS = 3_600_000
/** ms; what an activity takes for one. */
const SLICE_MS = 30_000

async function follow({ folder, key, database, until }: Begin, draining: AbortSignal): Promise<void> {
  const surroundings = {
    documents: fileDocuments(join(folder, 'documents')),
    secrets: fileSecrets(join(folder, 'secrets')),
    log: silentLogger,
    draining,
  }
  const context = databaseContext(await serverContext(surroundings, key), database)
  if (until === undefined) {
    while (!draining.aborted) await replicateSlice(context, { ms: SLICE_MS })
    return
  }
  const { reason } = await replicateSlice(context, { ms: DRAIN_MS, until: parseLsn(until) })
  if (reason !== 'reached') throw new Error(`The slice ended with ${reason}.`)
}

async function run(begin: Begin, draining: AbortSignal): Promise<Ended> {
  const before = process.cpuUsage()
  try {
    await follow(begin, draining)
  } catch (error) {
    return { error: errorText(error) }
  }
  const { user, system } = process.cpuUsage(before)
  return {
    use: {
      userSeconds: user / 1e6,
      systemSeconds: system / 1e6,
      peakRssBytes: ownPeakBytes(),
    },
  }
}

const drain = new AbortController()
// Ctrl-C reaches all processes of a terminal: the parent ends this one.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(1))
process.on('message', (message: Begin | 'stop') => {
  if (message === 'stop') drain.abort()
  else void run(message, drain.signal).then((ended) => process.send!(ended, () => process.exit(0)))
})
process.send!('ready')
