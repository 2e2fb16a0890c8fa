import { z } from 'zod'
import { MigrationError } from '../errors.ts'
import { InvalidInput, problem } from './invalid-input.ts'
import type { FallbackStatus, PgflexStatus } from './migration-resource.ts'
import { overallCutover, overallSlot } from './pgflex-status.ts'
import type { MigrationRecord } from './record.ts'
import { checkNames } from './requests.ts'
import type { DatabaseStatus } from './status.ts'

/**
 * The way back of a database, as its own status document says: `phase` of {@link DatabaseStatus}.
 *
 *   Prepared ─► Following ◄──────────────┐ called off
 *                   ├─ switchBack ─► SwitchingBack ─► SwitchedBack
 *                   ├─ end ────────► Ending ────────► Ended
 *                   └─ what no waiting mends ───────► Failed
 */
export type FallbackState = 'Prepared' | 'Following' | 'SwitchingBack' | 'SwitchedBack' | 'Ending' | 'Ended' | 'Failed'

/** Messages of the engine speak of the source and the target that it has at hand. */
export function ofWayBack(message: string): string {
  return `${message} (On the way back: the source is the new server, the target the old one.)`
}

/** One database with the status of its migration and that of its way back. */
export interface FallbackOfDatabase {
  status: DatabaseStatus
  back: DatabaseStatus
}

/** Undefined while there is no way back. */
export function fallbackState({ phase, migrationState, cutover }: DatabaseStatus): FallbackState | undefined {
  switch (phase) {
    case 'Queued':
      return undefined
    case 'CuttingOver':
      return 'SwitchingBack'
    case 'CleaningUp':
      return cutover?.endedAt === undefined ? 'Ending' : 'SwitchedBack'
    case 'Ended':
      if (migrationState === 'Failed') return 'Failed'
      return cutover?.endedAt === undefined ? 'Ended' : 'SwitchedBack'
    case 'Following':
      return 'Following'
    case 'PreparingSchema':
    case 'CreatingSlot':
    case 'CopyingData':
    case 'BuildingIndexes':
      return 'Prepared'
  }
}

/** Whether something of the way back of a database that was cut over is still there, and the secrets are needed. */
export function fallbackIsOn({ status, back }: FallbackOfDatabase): boolean {
  return status.migrationState === 'Succeeded' && back.phase !== 'Queued' && back.phase !== 'Ended'
}

/** The body of `POST …/fallback`. */
export const fallbackSchema = z.strictObject({
  action: z.enum(['switchBack', 'end']),
  databases: z.array(z.string()).optional().meta({ description: 'All with a way back, when there is no list.' }),
  force: z.boolean().optional().meta({ description: 'Switches back whatever the latency is.' }),
})
export type FallbackRequest = z.infer<typeof fallbackSchema>

/** @throws {InvalidInput} */
export function parseFallbackRequest(body: unknown): FallbackRequest {
  const parsed = fallbackSchema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new InvalidInput([
    problem(
      'action',
      'The body has action, which is "switchBack" or "end", and may have databases, a list of names, and force, true or false.',
    ),
  ])
}

/** What may be asked of the way back now: words of the request. */
export function fallbackActions(record: MigrationRecord, one: FallbackOfDatabase): FallbackRequest['action'][] {
  const asked = record.requests.fallback?.[one.status.database]?.action
  if (!fallbackIsOn(one) || asked === 'end') return []
  if (asked === 'switchBack') return isDecided(one) ? [] : ['end']
  if (!isFollowing(one)) return []
  return isLate(record, one) ? ['end'] : ['switchBack', 'end']
}

function isLate({ properties }: MigrationRecord, { back }: FallbackOfDatabase): boolean {
  const { latencySeconds } = back
  return latencySeconds === undefined || latencySeconds > properties.pgflex.maxLatencySecondsForCutover
}

/**
 * The databases that an action has to be stored for: not those that have it behind them or were asked already.
 *
 * @throws {MigrationError} InvalidInput, FallbackNotOn, FallbackNotReady, LatencyTooHigh
 */
export function fallbacksOf(
  record: MigrationRecord,
  { action, databases: names, force = false }: FallbackRequest,
  all: FallbackOfDatabase[],
): string[] {
  checkNames(record, names, 'databases')
  const named = names === undefined || names.length === 0 ? undefined : names
  const done = action === 'end' ? 'Ended' : 'SwitchedBack'
  const chosen = all.filter((one) =>
    // Without names, what is over in another way is not meant.
    named === undefined ? fallbackIsOn(one) || fallbackState(one.back) === done : named.includes(one.status.database),
  )
  const open = chosen.filter(({ back }) => fallbackState(back) !== done)
  const without = open.filter((one) => !fallbackIsOn(one) && one.status.phase === 'Ended')
  if (chosen.length === 0 || without.length > 0) {
    const said = without.map(({ status, back }) => `"${status.database}" ${fallbackState(back) ?? 'has none'}`)
    throw new MigrationError(
      'FallbackNotOn',
      `There is no way back${said.length === 0 ? ' of this migration' : `: ${said.join(', ')}`}.`,
      {
        hint:
          record.properties.pgflex.fallback === 'None'
            ? 'It has to be chosen when the migration is created: properties.pgflex.fallback "ReverseReplication".'
            : 'There is one from the cutover until it was used or ended.',
      },
    )
  }
  const asked = (one: FallbackOfDatabase): string | undefined => record.requests.fallback?.[one.status.database]?.action
  const fresh = open.filter((one) => asked(one) !== action)
  const unready = fresh.filter((one) => {
    if (!fallbackIsOn(one)) return true
    // The end calls a switch back off that is not decided: also one that gets nowhere, since a server is lost.
    return action === 'end' ? isDecided(one) : asked(one) !== undefined || !isFollowing(one)
  })
  if (unready.length > 0) {
    const list = unready.map(({ status, back }) => `"${status.database}" ${fallbackState(back) ?? 'is not cut over'}`)
    throw new MigrationError('FallbackNotReady', `The way back cannot be asked for this now: ${list.join(', ')}.`, {
      hint: 'Ask again when its state is Following.',
      retryable: true,
    })
  }
  const late = action === 'switchBack' && !force ? fresh.filter((one) => isLate(record, one)) : []
  if (late.length > 0) {
    const limit = record.properties.pgflex.maxLatencySecondsForCutover
    throw new MigrationError(
      'LatencyTooHigh',
      `The old source is too far behind to switch back in a short time: ${late.map(({ status, back }) => `"${status.database}" ${back.latencySeconds === undefined ? `is not followed at the moment${back.message === undefined ? '' : ` (${back.message})`}` : `${back.latencySeconds} s`}`).join(', ')}; the limit is ${limit} s.`,
      { hint: 'Wait until the latency is lower, or set force to true.', retryable: true },
    )
  }
  return fresh.map(({ status }) => status.database)
}

function isDecided({ back }: FallbackOfDatabase): boolean {
  return back.cutover?.decidedAt !== undefined
}

function isFollowing({ back }: FallbackOfDatabase): boolean {
  return fallbackState(back) === 'Following'
}

/** The way back of a database as it is shown. */
export function databaseFallback({ back }: FallbackOfDatabase): FallbackStatus | undefined {
  const state = fallbackState(back)
  if (state === undefined) return undefined
  const { latencySeconds, maxLatencySeconds, lagBytes, slot, message, cutover, changes, warnings } = back
  return {
    state,
    appliedChanges: changes.applied,
    ...(latencySeconds === undefined ? {} : { latencySeconds }),
    ...(maxLatencySeconds === undefined ? {} : { maxLatencySeconds }),
    ...(lagBytes === undefined ? {} : { lagBytes }),
    ...(slot === undefined ? {} : { slot }),
    ...(message === undefined ? {} : { message }),
    ...(cutover === undefined ? {} : { switchBack: cutover }),
    warnings: warnings.map(ofWayBack),
  }
}

/** From what needs the user's eye most to what is over. */
const STATES: FallbackState[] = ['Failed', 'SwitchingBack', 'Following', 'Prepared', 'Ending', 'SwitchedBack', 'Ended']

/** That of the whole: the state that needs the user's eye most, sums, and the greatest latency. */
export function serverFallback(all: FallbackOfDatabase[]): PgflexStatus['fallback'] {
  const shown = all.flatMap((one) => {
    const fallback = databaseFallback(one)
    return fallback === undefined ? [] : [{ database: one.status.database, fallback }]
  })
  if (shown.length === 0) return undefined
  if (shown.length === 1) return shown[0]!.fallback
  const present = (pick: (one: FallbackStatus) => number | undefined): number[] =>
    shown.map(({ fallback }) => pick(fallback)).filter((value) => value !== undefined)
  const latencies = present(({ latencySeconds }) => latencySeconds)
  const lags = present(({ lagBytes }) => lagBytes)
  const slots = all.flatMap(({ back }) => (back.slot === undefined ? [] : [back.slot]))
  const switchBack = overallCutover(all.map(({ back }) => back))
  const said = (texts: (one: FallbackStatus) => string[]): string[] =>
    shown.flatMap(({ database, fallback }) => texts(fallback).map((text) => `${database}: ${text}`))
  const messages = said(({ message }) => (message === undefined ? [] : [message]))
  return {
    state: STATES.find((state) => shown.some(({ fallback }) => fallback.state === state))!,
    appliedChanges: shown.reduce((sum, { fallback }) => sum + fallback.appliedChanges, 0),
    ...(latencies.length === 0 ? {} : { latencySeconds: Math.max(...latencies) }),
    ...(lags.length === 0 ? {} : { lagBytes: lags.reduce((a, b) => a + b, 0) }),
    ...(slots.length === 0 ? {} : { slot: overallSlot(slots) }),
    ...(messages.length === 0 ? {} : { message: messages.join(' ') }),
    ...(switchBack === undefined ? {} : { switchBack }),
    warnings: said(({ warnings }) => warnings),
  }
}
