import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseContext, serverContext, type DatabaseContext } from '../../../migration/context.ts'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { errorText } from '../../../migration/errors.ts'
import { silentLogger } from '../../../migration/log.ts'
import { isAsked } from '../../../migration/model/record.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { fileDocuments } from '../../../migration/store/file-documents.ts'
import { fileSecrets } from '../../../migration/store/file-secrets.ts'
import { readRecord } from '../../../migration/store/migrations.ts'
import type { TestMigration } from '../../support/servers.ts'
import type { MigrationPlace } from '../replicate/slice-process.ts'

/** Which activity comes next; it is kept in a file, as the history of an orchestration keeps it. */
type Stage = 'follow' | 'cutover' | 'end' | 'ended'

/** A process that follows, cuts over when asked, and ends the database: as a host does, until it is killed. */
export interface CutoverProcess extends AsyncDisposable {
  child: ChildProcess
  /** What failed, in words, and what each cutover came to. */
  log: string[]
  exited: Promise<unknown>
  kill(): Promise<void>
}

export function startCutoverProcess({ folder, context }: TestMigration): CutoverProcess {
  const place: MigrationPlace = { folder, key: context.key, database: context.database }
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, CUTOVER: JSON.stringify(place) },
  })
  const log: string[] = []
  child.on('message', (line) => log.push(line as string))
  const exited = once(child, 'exit')
  return {
    child,
    log,
    exited,
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await this.kill()
    },
  }
}

function stageOf(folder: string): Stage {
  const file = join(folder, 'stage')
  return existsSync(file) ? (readFileSync(file, 'utf8') as Stage) : 'follow'
}

/** ms of a slice, shorter than in a host. */
const SLICE_MS = 5_000
/** ms before the next try of an activity that failed, where the orchestration pauses from 1 s on. */
const RETRY_MS = 100
/** ms; how soon a cancellation is noticed. */
const CANCEL_POLL_MS = 50

async function main({ folder, key, database }: MigrationPlace): Promise<void> {
  process.on('disconnect', () => process.exit())
  const documents = fileDocuments(join(folder, 'documents'))
  const tell = (line: string): void => void process.send!(line)
  const cancel = new AbortController()
  const timer = setInterval(() => {
    void readRecord(documents, key).then((record) => {
      if (!record || !isAsked(record, 'cancel', database) || cancel.signal.aborted) return
      cancel.abort(new Error('It was cancelled.'))
      tell('cancelled')
    })
  }, CANCEL_POLL_MS)
  const open = async (draining: AbortSignal): Promise<DatabaseContext> => {
    const surroundings = { documents, secrets: fileSecrets(join(folder, 'secrets')), log: silentLogger, draining }
    return { ...databaseContext(await serverContext(surroundings, key), database), sliceMs: SLICE_MS }
  }
  async function activity(stage: Stage): Promise<Stage> {
    const canceled = cancel.signal.aborted
    if (stage === 'end' || canceled) {
      const outcome = { state: canceled && stage !== 'end' ? 'Canceled' : 'Succeeded' } as const
      const { finished } = await endDatabase(await open(new AbortController().signal), outcome)
      return finished ? 'ended' : stage
    }
    const context = await open(cancel.signal)
    if (stage === 'follow') {
      const { next } = await follow(context)
      if (next === 'busy') await pause(RETRY_MS)
      return next === 'cutover' ? 'cutover' : 'follow'
    }
    const { next } = await cutoverDatabase(context)
    tell(`cutover: ${next}`)
    return next === 'finished' ? 'end' : 'follow'
  }

  for (let stage = stageOf(folder); stage !== 'ended';) {
    try {
      stage = await activity(stage)
      writeFileSync(join(folder, 'stage'), stage)
    } catch (error) {
      tell(`${stage}: ${errorText(error)}`)
      await pause(RETRY_MS)
    }
  }
  clearInterval(timer)
  process.disconnect()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const given = process.env['CUTOVER']
if (given !== undefined && process.send) await main(JSON.parse(given) as Parameters<typeof main>[0])
