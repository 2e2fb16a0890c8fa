import { applyChanges } from './changes.ts'
import type { MigrationRecord } from './record.ts'
import { cancelsOf, cutoversOf } from './requests.ts'
import { isTrue, type PatchBody } from './resource.ts'
import type { DatabaseStatus, ServerStatus } from './status.ts'

/** What a PATCH does: the record to store, and the events that wake the orchestration. */
export interface Patched {
  record: MigrationRecord
  events: { name: 'Cutover' | 'Cancel' | 'Changed'; data: object }[]
}

/**
 * Carries out a PATCH on a record, or refuses it whole. Asking twice is asking once.
 *
 * @param databases one status for each of `dbsToMigrate`
 * @throws {InvalidInput} a field that is wrong
 * @throws {MigrationError} 603113, 603114, CutoverNotReady, LatencyTooHigh, MigrationEnded, CannotChangeNow
 */
export function applyPatch(
  record: MigrationRecord,
  body: PatchBody,
  server: ServerStatus,
  databases: DatabaseStatus[],
  now: Date,
): Patched {
  const { tags, properties = {} } = body
  const { triggerCutover, dbsToTriggerCutoverOn, cancel, dbsToCancelMigrationOn, pgflex, ...changes } = properties
  const { force, ...options } = pgflex ?? {}
  const tagged = tags === undefined ? record : { ...record, tags }
  const changed = applyChanges(tagged, { ...changes, pgflex: options }, server, databases)
  const at = now.toISOString()

  const cancels = isTrue(cancel) ? cancelsOf(record, dbsToCancelMigrationOn, server, databases) : []
  const cutovers = isTrue(triggerCutover)
    ? cutoversOf(changed, dbsToTriggerCutoverOn, databases, force === true).filter((name) => !cancels.includes(name))
    : []
  const requests = {
    ...record.requests,
    cutover: {
      ...Object.fromEntries(cutovers.map((name) => [name, { at, force: force === true }])),
      ...record.requests.cutover,
    },
    cancel: { ...Object.fromEntries(cancels.map((name) => [name, { at }])), ...record.requests.cancel },
  }
  return {
    record: { ...changed, requests },
    events: [
      ...(cutovers.length > 0 ? [{ name: 'Cutover' as const, data: { databases: cutovers } }] : []),
      ...(cancels.length > 0 ? [{ name: 'Cancel' as const, data: { databases: cancels } }] : []),
      // Whatever waits for the user looks at the record again.
      ...(changed === tagged && cancels.length === 0 && properties.secretParameters === undefined
        ? []
        : [{ name: 'Changed' as const, data: {} }]),
    ],
  }
}
