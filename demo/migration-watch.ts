import { setTimeout as sleep } from 'node:timers/promises'
import type { Migration } from '../migration/model/migration-resource.ts'
import { RequestError, type MigrationClient } from './migration-client.ts'
import type { Display } from './progress.ts'
import { SAMPLE_DATABASES } from './sample-database.ts'

/** The migration of the demo, where it is shown, and what ends the demo. */
export interface Watched {
  api: MigrationClient
  display: Display
  signal: AbortSignal
}

const POLL_MS = 500
/** The sample is copied in seconds; what takes this long hangs. */
const READY_LIMIT_MS = 600_000
const CUTOVER_LIMIT_MS = 300_000
/** A target that is so close behind is up to date as soon as writes stop; on a busy machine it may stay further behind. */
const CLOSE_SECONDS = 2
const CLOSE_LIMIT_MS = 60_000

/** Waits until every database is ready for cutover. */
export function waitForReady(watched: Watched): Promise<Migration> {
  return until(watched, isReady, READY_LIMIT_MS)
}

/** Shows the migration for a time, and until the target is close behind, as somebody does who wants a short cutover. */
export async function watchFor(watched: Watched, seconds: number): Promise<void> {
  const end = Date.now() + seconds * 1000
  const isOver = (migration: Migration): boolean =>
    Date.now() >= end && (isClose(migration) || Date.now() >= end + CLOSE_LIMIT_MS)
  await until(watched, isOver, seconds * 1000 + READY_LIMIT_MS)
}

function isClose({ properties: { currentStatus } }: Migration): boolean {
  return Object.values(currentStatus.currentSubStateDetails.dbDetails).every(
    ({ pgflex }) => (pgflex.latencySeconds ?? Infinity) <= CLOSE_SECONDS,
  )
}

/** Waits for the end of the cutover. */
export function waitForSucceeded(watched: Watched): Promise<Migration> {
  return until(watched, isSucceeded, CUTOVER_LIMIT_MS)
}

/** Polls and shows the migration until a condition holds. */
async function until(
  { api, display, signal }: Watched,
  condition: (migration: Migration) => boolean,
  limitMs: number,
): Promise<Migration> {
  const deadline = Date.now() + limitMs
  for (;;) {
    const migration = await api.get()
    display.show(migration)
    const failure = failureOf(migration)
    if (failure !== undefined) throw new Error(failure)
    if (condition(migration)) return migration
    if (Date.now() > deadline) throw new Error(`The migration made no progress within ${limitMs / 1000} s.`)
    await sleep(POLL_MS, undefined, { signal })
  }
}

function isReady({ properties: { currentStatus } }: Migration): boolean {
  const { currentSubState } = currentStatus.currentSubStateDetails
  if (currentStatus.state !== 'WaitingForUserAction') return false
  if (currentSubState !== 'WaitingForCutoverTrigger') throw new Error(`The migration waits: ${currentSubState}.`)
  return true
}

function isSucceeded(migration: Migration): boolean {
  const { properties } = migration
  // A cutover that is called off takes the request back.
  if (properties.currentStatus.state === 'WaitingForUserAction' && properties.triggerCutover !== 'True') {
    const messages = Object.values(properties.currentStatus.currentSubStateDetails.dbDetails).map((one) => one.message)
    throw new Error(messages.filter((message) => message !== undefined).join('\n') || 'The cutover was called off.')
  }
  return properties.currentStatus.state === 'Succeeded'
}

function failureOf({ properties: { currentStatus } }: Migration): string | undefined {
  const { state, error, currentSubStateDetails } = currentStatus
  // A database that fails does not stop the others; it does stop the demo.
  const ended = [state, ...Object.values(currentSubStateDetails.dbDetails).map(({ migrationState }) => migrationState)]
  const failed = ended.find((one) => one === 'Failed' || one === 'ValidationFailed' || one === 'Canceled')
  if (failed === undefined) return undefined
  const { validationDetails, dbDetails } = currentSubStateDetails
  const checks = [
    ...(validationDetails?.serverLevelValidationDetails ?? []),
    ...(validationDetails?.dbLevelValidationDetails ?? []).flatMap(({ summary }) => summary),
  ]
  const messages = [
    error,
    ...Object.values(dbDetails).map(({ message }) => message),
    ...checks.flatMap(({ messages: found = [] }) =>
      found.filter((one) => one.state === 'Failed').map((one) => one.message),
    ),
  ]
  const told = [...new Set(messages.filter((message) => message !== undefined && message !== ''))]
  return [`The migration ended as ${failed}.`, ...told].join('\n')
}

/** Asks for the cutover of both databases, again while they are too far behind. */
export async function cutOver({ api, signal }: Watched): Promise<void> {
  const deadline = Date.now() + CUTOVER_LIMIT_MS
  for (;;) {
    try {
      await api.cutOver(SAMPLE_DATABASES)
      return
    } catch (error) {
      const tooFarBehind = error instanceof RequestError && error.status === 409
      if (!tooFarBehind || Date.now() > deadline) throw error
      await sleep(POLL_MS, undefined, { signal })
    }
  }
}
