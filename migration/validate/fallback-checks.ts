import { missingApplyRights, type ApplyRights } from '../fallback/apply-rights.ts'
import type { ValidationSummaryItem } from '../model/status.ts'
import { id } from '../sql.ts'
import { summarize, type Finding } from './server-checks.ts'
import type { ServerFacts } from './server-facts.ts'

export interface FallbackNeeds {
  databases: number
  writeFreeze: 'Automatic' | 'Manual'
  /** Our role on the target may end sessions of others. */
  maySignal: boolean
}

/** What the target needs to be followed after the cutover. */
export function checkFallbackServer(target: ServerFacts, needs: FallbackNeeds): ValidationSummaryItem {
  const { databases, writeFreeze, maySignal } = needs
  const role = id(target.role.name)
  const findings: Finding[] = []
  const failed = (message: string): void => void findings.push({ state: 'Failed', message })
  if (target.walLevel !== 'logical') {
    failed(
      `603107: wal_level of the target is "${target.walLevel}"; fallback ReverseReplication needs "logical". On flexible server set the server parameter wal_level, else run there: alter system set wal_level = 'logical'; and restart the target.`,
    )
  }
  if (!target.role.replication) {
    failed(
      `603104: User "${target.role.name}" lacks the replication right on the target, which fallback ReverseReplication needs. Run there: alter role ${role} with replication;`,
    )
  }
  // One slot for each database, and one more for the snapshots of tables that are made after the cutover.
  const needed = databases + 1
  const freeSlots = target.maxReplicationSlots - target.usedReplicationSlots
  if (freeSlots < needed) {
    failed(
      `603105: The target has ${freeSlots} free replication slots of ${target.maxReplicationSlots}; fallback ReverseReplication needs ${needed}. Set max_replication_slots to at least ${target.usedReplicationSlots + needed} and restart the target.`,
    )
  }
  const freeSenders = target.maxWalSenders - target.usedWalSenders
  if (freeSenders < needed) {
    failed(
      `603106: The target has ${freeSenders} free WAL senders of ${target.maxWalSenders}; fallback ReverseReplication needs ${needed}. Set max_wal_senders to at least ${target.usedWalSenders + needed} and restart the target.`,
    )
  }
  if (writeFreeze === 'Automatic' && !maySignal) {
    findings.push({
      state: 'Warning',
      message: `603111: User "${target.role.name}" may end sessions on the target only of roles that it is a member of; a switch back is called off when others write there. Run there: grant pg_signal_backend to ${role};`,
    })
  }
  return summarize('FallbackValidation', findings)
}

/** What the database on the source needs so that changes can come back to it. */
export function checkFallbackDatabase(
  database: string,
  user: string,
  { rights, mayCreate }: { rights: ApplyRights; mayCreate: boolean },
): ValidationSummaryItem {
  const missing = missingApplyRights(rights)
  if (!mayCreate) {
    missing.push(
      `User "${user}" may not create the schema pgflex, which says how far changes came back. Run on the source: grant create on database ${id(database)} to ${id(user)};`,
    )
  }
  return summarize(
    'FallbackValidation',
    missing.map((message) => ({ state: 'Failed', message: `FallbackDenied: ${message}` })),
  )
}
