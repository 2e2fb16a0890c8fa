import { isAsked } from './record.ts'
import { MigrationError } from '../errors.ts'
import { canCutOver, databaseState, deriveState, isEnded } from '../status.ts'
import { InvalidInput, problem } from './invalid-input.ts'
import type { MigrationRecord } from './record.ts'
import type { DatabaseStatus, ServerStatus } from './status.ts'

/** @throws {InvalidInput} names that are not databases of this migration */
export function checkNames(record: MigrationRecord, names: string[] | undefined, target: string): void {
  const unknown = (names ?? []).filter((name) => !record.properties.dbsToMigrate.includes(name))
  if (unknown.length > 0) {
    throw new InvalidInput(
      unknown.map((name) =>
        problem(
          target,
          `"${name}" is not a database of this migration; its databases are ${record.properties.dbsToMigrate.join(', ')}.`,
        ),
      ),
    )
  }
}

/** A list of all databases says the same as no list; old clients always send it. */
function namedOf(record: MigrationRecord, names: string[] | undefined): string[] | undefined {
  return names === undefined ||
    names.length === 0 ||
    record.properties.dbsToMigrate.every((name) => names.includes(name))
    ? undefined
    : names
}

/**
 * The databases that a `cancel` is asked of; none when the migration is cancelled already.
 *
 * @throws {MigrationError} InvalidInput, 603113, MigrationEnded
 */
export function cancelsOf(
  record: MigrationRecord,
  names: string[] | undefined,
  server: ServerStatus,
  databases: DatabaseStatus[],
): string[] {
  checkNames(record, names, 'properties.dbsToCancelMigrationOn')
  const { state, currentSubState } = deriveState(record, server, databases)
  if (state === 'Canceled') return []
  if (currentSubState === 'Completed') {
    throw new MigrationError(
      'MigrationEnded',
      `The migration has already ended (${state}); there is nothing to cancel.`,
      {
        target: 'properties.cancel',
      },
    )
  }
  const named = namedOf(record, names)
  const ended = databases
    .filter((status) => isEnded(status) && status.migrationState !== 'Canceled')
    .map(({ database }) => database)
  const tooLate = (named ?? []).filter((name) => ended.includes(name))
  if (tooLate.length > 0) throw alreadyEnded(tooLate, databases, 'properties.dbsToCancelMigrationOn', 'cancel')
  // With no list, also those that have ended: that every database is asked for is what cancels the whole.
  return named ?? record.properties.dbsToMigrate
}

/**
 * The databases that a `triggerCutover` is asked of, those included that it was asked of before.
 *
 * @throws {MigrationError} InvalidInput, 603113, 603114, CutoverNotReady, LatencyTooHigh
 */
export function cutoversOf(
  record: MigrationRecord,
  names: string[] | undefined,
  databases: DatabaseStatus[],
  force: boolean,
): string[] {
  checkNames(record, names, 'properties.dbsToTriggerCutoverOn')
  const target = 'properties.triggerCutover'
  if (record.properties.migrationMode === 'Offline') {
    throw new MigrationError('603114', 'Cutover is not possible: the migration is Offline and cuts over by itself.', {
      target,
    })
  }
  const named = namedOf(record, names)
  const chosen = databases.filter(({ database }) => named === undefined || named.includes(database))
  const open = chosen.filter((status) => !isEnded(status))
  const ended = chosen.filter(isEnded)
  if (open.length === 0 || (named !== undefined && ended.length > 0)) {
    throw alreadyEnded(
      ended.map(({ database }) => database),
      databases,
      target,
      'cut over',
    )
  }
  const asked = open.filter(({ database }) => isAsked(record, 'cutover', database))
  const fresh = open.filter(({ database }) => !isAsked(record, 'cutover', database))
  const unready = fresh.filter((status) => databaseState(record, status) !== 'WaitingForCutoverTrigger')
  if (unready.length > 0) {
    const ready = fresh.filter((status) => !unready.includes(status)).map(({ database }) => database)
    throw new MigrationError(
      'CutoverNotReady',
      `The cutover has to wait: ${unready.map((status) => `"${status.database}" ${waitsFor(record, status)}`).join(', ')}.`,
      {
        target,
        hint:
          ready.length > 0 && named === undefined
            ? `Name the databases that are ready in dbsToTriggerCutoverOn: ${ready.join(', ')}.`
            : 'Ask again when the state is WaitingForCutoverTrigger.',
        retryable: true,
      },
    )
  }
  const late = force ? [] : fresh.filter((status) => !canCutOver(record, status))
  if (late.length > 0) {
    const limit = record.properties.pgflex.maxLatencySecondsForCutover
    throw new MigrationError(
      'LatencyTooHigh',
      `The target is too far behind for a short cutover: ${late.map((status) => `"${status.database}" ${status.latencySeconds === undefined ? 'is not followed at the moment' : `${status.latencySeconds} s`}`).join(', ')}; the limit is ${limit} s.`,
      {
        target,
        hint: 'Wait until the latency is lower, raise properties.pgflex.maxLatencySecondsForCutover, or set properties.pgflex.force to true.',
        retryable: true,
      },
    )
  }
  return [...asked, ...fresh].map(({ database }) => database)
}

function alreadyEnded(names: string[], databases: DatabaseStatus[], target: string, what: string): MigrationError {
  const states = databases
    .filter(({ database }) => names.includes(database))
    .map(({ database, migrationState }) => `"${database}" ${migrationState}`)
  return new MigrationError('603113', `It is too late to ${what}: ${states.join(', ')}.`, { target })
}

function waitsFor(record: MigrationRecord, status: DatabaseStatus): string {
  if (databaseState(record, status) === 'Canceling') return 'is being cancelled'
  switch (status.phase) {
    case 'Queued':
      return 'waits for its turn'
    case 'PreparingSchema':
      return 'is getting its schema'
    case 'CreatingSlot':
      return 'is getting its replication slot'
    case 'CopyingData':
      return `is being copied (${status.tables.completed} of ${tableCount(status)} tables)`
    case 'BuildingIndexes':
      return 'is building its indexes'
    case 'Following':
      return 'is catching up with the source'
    case 'CuttingOver':
      return 'is being cut over'
    case 'CleaningUp':
    case 'Ended':
      return 'is being cleaned up'
  }
}

function tableCount({ tables }: DatabaseStatus): number {
  return tables.queued + tables.loading + tables.completed + tables.errored
}
