import type { MigrationRecord } from './record.ts'
import type { CutoverFacts, DatabaseStatus, NamedObjects } from './status.ts'

/** One thing that must hold before a database is cut over, and whether it does, in words. */
export interface ReadinessCheck {
  check:
    | 'tables copied'
    | 'indexes and constraints'
    | 'following'
    | 'latency'
    | 'changes applied'
    | 'slot'
    | 'tables followed'
    | 'identity of tables'
    | 'sequences'
    | 'freeze'
    | 'comparison'
  ok: boolean
  message: string
}

type Check = [ok: boolean, message: string]

/**
 * What must hold before cutover, by what is stored of a database; also long before, so that a user sees what is still
 * missing. Undefined where there is nothing to be ready for: Offline cuts over by itself, and what has ended is over.
 */
export function cutoverReadiness(record: MigrationRecord, status: DatabaseStatus): ReadinessCheck[] | undefined {
  if (record.properties.migrationMode === 'Offline') return undefined
  if (status.phase === 'CleaningUp' || status.phase === 'Ended') return undefined
  const checks: [ReadinessCheck['check'], Check][] = [
    ['tables copied', tablesCopied(status)],
    ['indexes and constraints', objectsThere(status.cutoverFacts)],
    ['following', following(status)],
    ['latency', latency(record, status)],
    ['changes applied', changesApplied(status)],
    ['slot', slot(status)],
    ['tables followed', tablesFollowed(status.cutoverFacts)],
    ['identity of tables', identity(record, status.cutoverFacts)],
    ['sequences', sequences(status.cutoverFacts)],
    ['freeze', freeze(record, status.cutoverFacts)],
    ['comparison', comparison(record, status)],
  ]
  return checks.map(([check, [ok, message]]) => ({ check, ok, message }))
}

const NOT_SEEN: Check = [false, 'It is looked at when the database follows its source.']

function tablesCopied({ tables, phase }: DatabaseStatus): Check {
  const { queued, loading, completed, errored } = tables
  const all = queued + loading + completed + errored
  if (errored > 0) return [false, `${counted(errored, 'table')} of ${all} could not be copied.`]
  if (completed < all) return [false, `${completed} of ${all} tables are copied.`]
  // A database without tables is copied, too; before the load is planned nothing is known of them.
  if (all === 0 && phase !== 'Following' && phase !== 'CuttingOver') return [false, 'No table is copied yet.']
  return [true, `All ${all} tables are copied.`]
}

function objectsThere(facts: CutoverFacts | undefined): Check {
  if (!facts) return NOT_SEEN
  const { failedObjects, pendingObjects } = facts
  if (failedObjects.count > 0)
    return [
      false,
      `${counted(failedObjects.count, 'object')} could not be built on the target: ${listed(failedObjects)}. Cutover tries again, and is refused without them unless it is forced.`,
    ]
  if (pendingObjects.count > 0)
    return [
      false,
      `Still to be built on the target: ${counted(pendingObjects.count, 'object')}: ${listed(pendingObjects)}.`,
    ]
  return [true, 'All indexes and constraints that can be there before cutover are there.']
}

function following({ migrationState, phase }: DatabaseStatus): Check {
  if (phase === 'CuttingOver') return [true, 'The cutover is at work.']
  return migrationState === 'WaitingForCutoverTrigger'
    ? [true, 'The target follows the source.']
    : [false, `The target does not follow the source yet: ${phase}.`]
}

function latency(record: MigrationRecord, { latencySeconds }: DatabaseStatus): Check {
  const limit = record.properties.pgflex.maxLatencySecondsForCutover
  if (latencySeconds === undefined) return [false, 'The latency is not known yet.']
  const seconds = Number(latencySeconds.toFixed(1))
  return latencySeconds <= limit
    ? [true, `The latency is ${seconds} s; cutover is allowed up to ${limit} s.`]
    : [false, `The latency is ${seconds} s; cutover is refused above ${limit} s unless it is forced.`]
}

function changesApplied({ changes }: DatabaseStatus): Check {
  return changes.missed === 0
    ? [true, 'Every change that was applied found its row.']
    : [false, `${counted(changes.missed, 'change')} found no row on the target: the two sides differ there.`]
}

function slot({ slot: state }: DatabaseStatus): Check {
  if (!state) return [false, 'The replication slot has not been looked at yet.']
  return state.walStatus === 'lost' || state.walStatus === 'unreserved'
    ? [false, `The slot ${state.name} is ${state.walStatus}: the source may have removed WAL that is still needed.`]
    : [true, `The slot ${state.name} has all WAL that is needed.`]
}

function tablesFollowed(facts: CutoverFacts | undefined): Check {
  if (!facts) return NOT_SEEN
  return facts.unfollowed.count === 0
    ? [true, 'Every table of the source is followed.']
    : [
        false,
        `Not followed: ${counted(facts.unfollowed.count, 'table')} of the source: ${listed(facts.unfollowed)}. Cutover is refused until that is mended.`,
      ]
}

function identity(record: MigrationRecord, facts: CutoverFacts | undefined): Check {
  if (!facts) return NOT_SEEN
  const { withoutIdentity } = facts
  if (withoutIdentity.count === 0) return [true, 'Every row of every table that is followed can be identified.']
  const message = `Of ${counted(withoutIdentity.count, 'table')} without a usable replica identity only INSERT and TRUNCATE are followed: ${listed(withoutIdentity)}.`
  // An UPDATE leaves the number of rows as it is: only the contents tell.
  return record.properties.pgflex.verify === 'Checksums'
    ? [true, `${message} The comparison at cutover finds what else was changed.`]
    : [
        false,
        `${message} An UPDATE would not be found at cutover: choose verify Checksums, or give them a primary key.`,
      ]
}

function sequences(facts: CutoverFacts | undefined): Check {
  if (!facts) return NOT_SEEN
  return facts.missingSequences.count === 0
    ? [true, `All ${facts.sequences} sequences are on the target; cutover sets them.`]
    : [
        false,
        `Missing on the target: ${counted(facts.missingSequences.count, 'sequence')} of ${facts.sequences}: ${listed(facts.missingSequences)}. They are made there before the next slice of following, or can be made by hand.`,
      ]
}

function freeze(record: MigrationRecord, facts: CutoverFacts | undefined): Check {
  if (!facts) return NOT_SEEN
  const { freezeObstacles, longTransactions } = facts
  if (freezeObstacles.count > 0)
    return [
      false,
      `Writes on the source would still be let in after they are stopped: ${listed(freezeObstacles, '; ')}.`,
    ]
  if (longTransactions.count > 0)
    return [
      true,
      record.properties.pgflex.writeFreeze === 'Automatic'
        ? `The freeze ends every session, and rolls back ${counted(longTransactions.count, 'long transaction')}: ${listed(longTransactions)}.`
        : `Wait for ${counted(longTransactions.count, 'long transaction')} before you cut over: ${listed(longTransactions)}.`,
    ]
  return [
    true,
    'No prepared transaction, no setting of a role, and no long transaction that our role can see stands against stopping the writes.',
  ]
}

function comparison(record: MigrationRecord, { verification }: DatabaseStatus): Check {
  const { verify } = record.properties.pgflex
  if (verification?.result === 'Different') {
    const { mode, differences } = verification
    return [
      false,
      `The last comparison (${mode}) found differences in ${counted(differences.length, 'table')}: ${listed({ count: differences.length, names: differences.slice(0, 5).map(({ table }) => table) })}.`,
    ]
  }
  if (verification?.result === 'Equal')
    return [true, `The last comparison (${verification.mode}) found ${verification.tables} tables equal.`]
  return verify === 'None'
    ? [true, 'Nothing is compared at cutover: verify is None.']
    : [true, `Nothing has been compared yet; cutover compares (${verify}), and is called off where the sides differ.`]
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function listed({ count, names }: NamedObjects, separator = ', '): string {
  const rest = count - names.length
  return `${names.join(separator)}${rest > 0 ? ` and ${rest} more` : ''}`
}
