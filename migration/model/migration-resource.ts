import { z } from 'zod'
import {
  MIGRATION_DATABASE_STATES,
  MIGRATION_MODES,
  MIGRATION_OPTIONS,
  MIGRATION_STATES,
  MIGRATION_SUBSTATES,
  MIGRATION_TYPE,
  SOURCE_TYPES,
  SSL_MODES,
  VALIDATION_STATES,
} from './enums.ts'
import { pgflexOptionsSchema } from './resource.ts'

/** The resource as it is answered: the shape of api-version 2025-08-01, with our own parts under `pgflex`. */

const flag = z.enum(['True', 'False'])
const time = z.iso.datetime()

const progress = z.strictObject({
  rowsDone: z.number(),
  rowsTotal: z.number(),
  bytesDone: z.number(),
  bytesTotal: z.number(),
  estimatedEnd: time.optional(),
})

const slot = z.strictObject({
  name: z.string().optional(),
  walStatus: z.string().meta({ description: 'pg_replication_slots.wal_status; of several databases the worst' }),
  retainedBytes: z.number().meta({ description: 'WAL that the source keeps for the slots.' }),
  safeWalBytes: z.number().optional().meta({
    description: 'WAL that the source may still write before a slot is in danger; only with max_slot_wal_keep_size.',
  }),
})

const cutover = z.strictObject({
  startedAt: time,
  endedAt: time.optional(),
  downtimeSeconds: z.number().optional().meta({ description: 'From the freeze of writes to the last step.' }),
  decidedAt: time.optional().meta({ description: 'Of a switch back: from here on there is only forwards.' }),
  endLsn: z.string().optional(),
  steps: z.array(
    z.strictObject({
      database: z.string().optional(),
      name: z.string(),
      startedAt: time,
      endedAt: time.optional(),
      message: z.string().optional(),
    }),
  ),
})

const objectDifference = z.strictObject({
  database: z.string().optional(),
  kind: z.string(),
  name: z.string(),
  found: z.enum(['OnlySource', 'OnlyTarget']),
})

const rowDifference = z.strictObject({
  key: z.record(z.string(), z.string()).meta({ description: 'Empty where a table has no key.' }),
  found: z.enum(['Different', 'OnlySource', 'OnlyTarget']),
  columns: z
    .array(z.strictObject({ column: z.string(), source: z.string().nullable(), target: z.string().nullable() }))
    .meta({ description: 'What differs, as text; long values are cut.' }),
})

const comparedPart = z.strictObject({ tables: z.number(), rows: z.number() })

const comparison = z
  .strictObject({
    running: z.boolean(),
    tables: z.number(),
    tablesCompared: z.number(),
    bytes: z.number(),
    bytesCompared: z.number(),
  })
  .meta({
    description: 'Of the full comparison in the background: cutover compares what is compared only where it changed.',
  })

const verification = z.strictObject({
  mode: z.enum(['Checksums', 'Counts', 'None']),
  result: z.enum(['Equal', 'Different', 'Skipped', 'Running']),
  tables: z.number(),
  rows: z.number(),
  seconds: z.number(),
  differences: z.array(
    z.strictObject({
      database: z.string().optional(),
      table: z.string(),
      source: z.string(),
      target: z.string(),
      rows: z.array(rowDifference).optional(),
    }),
  ),
  atMarks: comparedPart.optional().meta({
    description: 'At cutover: tables of which only the rows were compared that changed since an earlier comparison.',
  }),
  whole: comparedPart.optional().meta({ description: 'At cutover: tables of which all rows were compared.' }),
  whileFollowing: z
    .strictObject({
      requestedAt: time,
      endedAt: time.optional(),
      tablesDone: z.number(),
      unsettledRows: z.number().meta({ description: 'Rows that changed at every look.' }),
      skipped: z.array(z.strictObject({ database: z.string().optional(), table: z.string(), reason: z.string() })),
      objects: z.array(objectDifference).meta({ description: 'Objects of the schema that are on one side only.' }),
    })
    .optional()
    .meta({ description: 'Of a comparison while the database is followed.' }),
})

const fallback = z.strictObject({
  state: z.enum(['Prepared', 'Following', 'SwitchingBack', 'SwitchedBack', 'Ending', 'Ended', 'Failed']),
  appliedChanges: z.number().meta({ description: 'Row changes that came back to the old source.' }),
  latencySeconds: z.number().optional().meta({ description: 'How far the old source is behind the new server.' }),
  maxLatencySeconds: z.number().optional(),
  lagBytes: z.number().optional(),
  slot: slot.optional().meta({ description: 'On the new server.' }),
  message: z.string().optional(),
  switchBack: cutover.optional(),
  warnings: z.array(z.string()),
})

const pgflexStatus = z.strictObject({
  actions: z.array(z.string()).meta({ description: 'What the user may do now.' }),
  phase: z.string(),
  progress,
  lagBytes: z.number().optional(),
  latencySeconds: z
    .number()
    .optional()
    .meta({ description: 'Greatest of the databases; 0 when the targets have all that was committed.' }),
  maxLatencySeconds: z.number().optional(),
  slot: slot.optional(),
  cutover: cutover.optional(),
  verification: verification.optional(),
  comparison: comparison.optional(),
  fallback: fallback.optional().meta({ description: 'The way back to the old source, where there is one.' }),
  readiness: z
    .array(z.strictObject({ check: z.string(), ok: z.boolean(), message: z.string() }))
    .optional()
    .meta({ description: 'Of a database that is to be cut over: what must hold before, and whether it does.' }),
  warnings: z.array(z.string()),
})

const databaseDetail = z.strictObject({
  databaseName: z.string(),
  migrationState: z.enum(MIGRATION_DATABASE_STATES),
  migrationOperation: z.string().optional(),
  startedOn: time.optional(),
  endedOn: time.optional(),
  fullLoadQueuedTables: z.number(),
  fullLoadErroredTables: z.number(),
  fullLoadLoadingTables: z.number(),
  fullLoadCompletedTables: z.number(),
  cdcInsertCounter: z.number(),
  cdcUpdateCounter: z.number(),
  cdcDeleteCounter: z.number(),
  appliedChanges: z.number(),
  incomingChanges: z.number(),
  latency: z.int().optional().meta({ description: 'Whole seconds, rounded up.' }),
  message: z.string().optional(),
  pgflex: pgflexStatus,
})

const summary = z.strictObject({
  type: z.string(),
  state: z.enum(VALIDATION_STATES),
  messages: z.array(z.strictObject({ state: z.enum(VALIDATION_STATES), message: z.string() })).optional(),
})

const validationDetails = z.strictObject({
  status: z.enum(VALIDATION_STATES),
  validationStartTimeInUtc: time,
  validationEndTimeInUtc: time,
  serverLevelValidationDetails: z.array(summary),
  dbLevelValidationDetails: z.array(
    z.strictObject({ databaseName: z.string(), startedOn: time, endedOn: time, summary: z.array(summary) }),
  ),
})

const metadata = z.strictObject({ location: z.string().optional(), version: z.string().optional() })

export const migrationSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  type: z.literal(MIGRATION_TYPE),
  location: z.string(),
  tags: z.record(z.string(), z.string()).optional(),
  properties: z.strictObject({
    migrationId: z.guid(),
    currentStatus: z.strictObject({
      state: z.enum(MIGRATION_STATES),
      error: z.string().optional(),
      currentSubStateDetails: z.strictObject({
        currentSubState: z.enum(MIGRATION_SUBSTATES),
        dbDetails: z.record(z.string(), databaseDetail),
        validationDetails: validationDetails.optional(),
      }),
      pgflex: pgflexStatus,
    }),
    migrationInstanceResourceId: z.string().optional(),
    migrationMode: z.enum(MIGRATION_MODES),
    migrationOption: z.enum(MIGRATION_OPTIONS),
    sourceType: z.enum(SOURCE_TYPES),
    sslMode: z.enum(SSL_MODES),
    sourceDbServerMetadata: metadata.optional(),
    targetDbServerMetadata: metadata.optional(),
    sourceDbServerResourceId: z.string().optional(),
    sourceDbServerFullyQualifiedDomainName: z.string().optional(),
    targetDbServerResourceId: z.string(),
    targetDbServerFullyQualifiedDomainName: z.string().optional(),
    dbsToMigrate: z.array(z.string()),
    setupLogicalReplicationOnSourceDbIfNeeded: flag,
    overwriteDbsInTarget: flag,
    migrationWindowStartTimeInUtc: time,
    migrationWindowEndTimeInUtc: time.optional(),
    migrateRoles: flag,
    startDataMigration: flag.optional(),
    triggerCutover: flag.optional(),
    dbsToTriggerCutoverOn: z.array(z.string()).optional(),
    cancel: flag.optional(),
    dbsToCancelMigrationOn: z.array(z.string()).optional(),
    pgflex: pgflexOptionsSchema,
  }),
})

export type Migration = z.infer<typeof migrationSchema>
export type FallbackStatus = z.infer<typeof fallback>
export type PgflexStatus = z.infer<typeof pgflexStatus>
export type DatabaseDetail = z.infer<typeof databaseDetail>

/** `GET …/migrations` */
export interface MigrationList {
  value: Migration[]
}

/** The body of every error. */
export interface ErrorBody {
  error: {
    code: string
    message: string
    target?: string
    details?: { code: string; message: string; target?: string }[]
  }
}
