import type { ValidationState, ValidationSummaryItem } from '../model/status.ts'
import type { ServerFacts } from './server-facts.ts'
import { id } from '../sql.ts'

export interface Finding {
  state: ValidationState
  message: string
}

/** What the migration asks of the servers. */
export interface ServerNeeds {
  online: boolean
  databases: number
}

/** pgoutput is part of PostgreSQL from 10 on; Offline needs what pg_dump 18 still reads. */
const OLDEST_ONLINE = 100000
const OLDEST_OFFLINE = 90500

/** One check: its name as Azure has it, and what was found. No finding is a success. */
export function summarize(type: string, findings: Finding[]): ValidationSummaryItem {
  return { type, state: worst(findings), ...(findings.length === 0 ? {} : { messages: findings }) }
}

export function worst(findings: { state: ValidationState }[]): ValidationState {
  if (findings.some(({ state }) => state === 'Failed')) return 'Failed'
  return findings.some(({ state }) => state === 'Warning') ? 'Warning' : 'Succeeded'
}

export function checkServers(source: ServerFacts, target: ServerFacts, needs: ServerNeeds): ValidationSummaryItem[] {
  return [
    summarize('SourceVersionValidation', checkVersions(source, target, needs)),
    summarize('ServerParametersValidation', needs.online ? checkReplicationSettings(source, needs) : []),
    summarize('PermissionsValidation', checkServerPermissions(source, target, needs)),
  ]
}

function checkVersions(source: ServerFacts, target: ServerFacts, { online }: ServerNeeds): Finding[] {
  const findings: Finding[] = []
  const oldest = online ? OLDEST_ONLINE : OLDEST_OFFLINE
  if (source.versionNumber < oldest) {
    findings.push({
      state: 'Failed',
      message: `603400: The source runs PostgreSQL ${source.version}; ${online ? 'an Online migration needs 10 or newer. Use Offline mode, or upgrade the source' : '9.5 is the oldest that can be migrated'}.`,
    })
  }
  if (Math.floor(target.versionNumber / 10000) < Math.floor(source.versionNumber / 10000)) {
    findings.push({
      state: 'Failed',
      message: `603400: The target runs PostgreSQL ${target.version}, which is older than the source's ${source.version}. Choose a target of the same major version or a newer one.`,
    })
  }
  if (source.identity === target.identity) {
    findings.push({
      state: 'Failed',
      message:
        'SameServer: Source and target are the same server. Check sourceDbServerResourceId and targetDbServerFullyQualifiedDomainName.',
    })
  }
  return findings
}

function checkReplicationSettings(source: ServerFacts, { databases }: ServerNeeds): Finding[] {
  const findings: Finding[] = []
  if (source.walLevel !== 'logical') {
    findings.push({
      state: 'Failed',
      message: `603107: wal_level of the source is "${source.walLevel}"; an Online migration needs "logical". Run: alter system set wal_level = 'logical'; and restart the source (RDS and Aurora: rds.logical_replication = 1; Cloud SQL: cloudsql.logical_decoding = on; AlloyDB: alloydb.logical_decoding = on).`,
    })
  }
  // One slot for each database that stays, and one more for the snapshots of the load.
  const needed = databases + 1
  const freeSlots = source.maxReplicationSlots - source.usedReplicationSlots
  if (freeSlots < needed) {
    findings.push({
      state: 'Failed',
      message: `603105: The source has ${freeSlots} free replication slots of ${source.maxReplicationSlots}; ${needed} are needed. Set max_replication_slots to at least ${source.usedReplicationSlots + needed} and restart, or drop slots that nobody uses (select slot_name from pg_replication_slots where not active).`,
    })
  }
  const freeSenders = source.maxWalSenders - source.usedWalSenders
  if (freeSenders < needed) {
    findings.push({
      state: 'Failed',
      message: `603106: The source has ${freeSenders} free WAL senders of ${source.maxWalSenders}; ${needed} are needed. Set max_wal_senders to at least ${source.usedWalSenders + needed} and restart.`,
    })
  }
  return findings
}

function checkServerPermissions(source: ServerFacts, target: ServerFacts, { online }: ServerNeeds): Finding[] {
  const findings: Finding[] = []
  if (online && !source.role.replication) {
    findings.push({
      state: 'Failed',
      message: `603104: User "${source.role.name}" lacks the replication right on the source. Run: alter role ${id(source.role.name)} with replication; (RDS and Aurora: grant rds_replication to ${id(source.role.name)};).`,
    })
  }
  if (!target.role.createDb) {
    findings.push({
      state: 'Failed',
      message: `603117: User "${target.role.name}" may not create databases on the target. Run: alter role ${id(target.role.name)} with createdb;`,
    })
  }
  if (!target.role.createRole) {
    findings.push({
      state: 'Warning',
      message: `603116: User "${target.role.name}" may not create roles on the target: owners and grants of missing roles cannot be kept. Run: alter role ${id(target.role.name)} with createrole;`,
    })
  }
  return findings
}
