import { z } from 'zod'
import { canonicalBody } from './canonical-body.ts'
import { MIGRATION_MODES, MIGRATION_OPTIONS, SOURCE_TYPES, SSL_MODES } from './enums.ts'
import { InvalidInput, problemsOf } from './invalid-input.ts'

/**
 * The bodies of PUT and PATCH as zod schemas: one declaration for the check, the TypeScript type and the
 * OpenAPI page. Bodies are brought to canonical spelling first, so the schemas are strict.
 */

/** Azure's flags are words. */
const flag = z.enum(['True', 'False'])

const databaseName = z
  .string()
  .min(1, 'a database name is not empty')
  // NAMEDATALEN - 1 bytes: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
  .refine((name) => Buffer.byteLength(name) <= 63, 'a database name has at most 63 bytes')

const databaseNames = z
  .array(databaseName)
  .refine((names) => new Set(names).size === names.length, 'a database is named twice')

/** Accepts a time without a zone: the name of the property says that it is UTC. */
const utcTime = z.iso.datetime({ offset: true, local: true, error: 'must be a time such as 2026-01-31T18:00:00Z' })

const tablePattern = z.string().regex(/^.+\..+$/s, 'must be schema.table, where * stands for any text')

/** As many workers as any server could use: more is a mistake in typing. */
const jobs = z.int().min(1).max(256)

const compareAll = z.boolean().meta({
  description:
    'With Checksums, compare all rows at cutover, also of tables that were compared before and changed in some rows only.',
})

export const pgflexOptionsSchema = z
  .strictObject({
    writeFreeze: z.enum(['Automatic', 'Manual']).default('Automatic').meta({
      description: 'Who stops the writes on the source at cutover.',
    }),
    verify: z.enum(['Checksums', 'Counts', 'None']).default('Checksums').meta({
      description: 'What is compared between source and target at cutover.',
    }),
    compareAll: compareAll.optional(),
    fallback: z.enum(['None', 'ReverseReplication']).default('None').meta({
      description: 'ReverseReplication keeps the source in step after cutover.',
    }),
    serverParameters: z.enum(['Copy', 'Report', 'Skip']).default('Copy').meta({
      description: 'What happens to server parameters that differ between source and target.',
    }),
    includeTables: z.array(tablePattern).optional().meta({ description: 'Patterns schema.table with *.' }),
    excludeTables: z.array(tablePattern).optional().meta({ description: 'Patterns schema.table with *.' }),
    copyJobs: jobs.optional().meta({ description: 'Parallel table copies; chosen from the size of the servers.' }),
    maxCopyBytesPerSecond: z.int().min(100_000).optional().meta({
      description:
        'What the initial load may read from the source each second, over all streams; unlimited by default.',
    }),
    indexJobs: jobs.optional().meta({ description: 'Parallel index builds; chosen from the size of the servers.' }),
    maxLatencySecondsForCutover: z.number().min(0).default(30).meta({
      description: 'A cutover above this latency is refused unless it is forced.',
    }),
    replicaIdentity: z.enum(['Report', 'Set']).default('Report').meta({
      description: 'Set: tables without a usable identity get one for the time of the migration.',
    }),
  })
  .meta({ description: 'Options of pgflex beyond those of the Azure service.' })

const adminCredentials = z.strictObject({
  sourceServerPassword: z.string().min(1, 'must not be empty').optional(),
  targetServerPassword: z.string().min(1, 'must not be empty').optional(),
})

const secretParameters = z
  .strictObject({
    adminCredentials: adminCredentials.optional(),
    sourceServerUsername: z.string().min(1, 'must not be empty').optional(),
    targetServerUsername: z.string().min(1, 'must not be empty').optional(),
  })
  .meta({ description: 'User names and passwords; they are never sent back.' })

/** What PATCH may change, of the properties of Azure. */
const patchable = {
  sourceDbServerResourceId: z.string().optional().meta({ description: 'host:port@user' }),
  sourceDbServerFullyQualifiedDomainName: z.string().optional().meta({ description: 'host[:port]' }),
  targetDbServerFullyQualifiedDomainName: z.string().optional().meta({ description: 'host[:port]' }),
  secretParameters: secretParameters.optional(),
  dbsToMigrate: databaseNames.min(1, 'name at least one database').optional(),
  setupLogicalReplicationOnSourceDbIfNeeded: flag.optional(),
  overwriteDbsInTarget: flag.optional(),
  migrationWindowStartTimeInUtc: utcTime.optional(),
  migrateRoles: flag.optional(),
  startDataMigration: flag.optional(),
  triggerCutover: flag.optional(),
  dbsToTriggerCutoverOn: databaseNames.optional(),
  cancel: flag.optional(),
  dbsToCancelMigrationOn: databaseNames.optional(),
  migrationMode: z.enum(MIGRATION_MODES).optional(),
}

/** What only PUT may say. */
const fixed = {
  migrationInstanceResourceId: z.string().optional(),
  migrationOption: z.enum(MIGRATION_OPTIONS).optional(),
  sourceType: z.enum(SOURCE_TYPES).optional(),
  sslMode: z.enum(SSL_MODES).optional(),
  migrationWindowEndTimeInUtc: utcTime.optional(),
}

const tags = z.record(z.string(), z.string()).optional()

export const putSchema = z.strictObject({
  location: z.string().min(1).optional(),
  tags,
  properties: z.strictObject({ ...patchable, ...fixed, pgflex: pgflexOptionsSchema.prefault({}) }),
})

export const patchSchema = z.strictObject({
  tags,
  properties: z
    .strictObject({
      ...patchable,
      pgflex: z
        .strictObject({
          writeFreeze: z.enum(['Automatic', 'Manual']).optional(),
          verify: z.enum(['Checksums', 'Counts', 'None']).optional(),
          compareAll: compareAll.optional(),
          maxLatencySecondsForCutover: z.number().min(0).optional(),
          force: z.boolean().optional().meta({
            description: 'Cut over whatever the latency, and without indexes or constraints that could not be built.',
          }),
        })
        .optional(),
    })
    .optional(),
})

export type PutBody = z.infer<typeof putSchema>
export type PatchBody = z.infer<typeof patchSchema>

/** What a GET result carries and a client may put back: the server's own knowledge, not the client's wish. */
const READ_ONLY = new Set(['id', 'name', 'type', 'systemdata', 'etag', '$schema'])
const READ_ONLY_PROPERTIES = new Set([
  'migrationid',
  'currentstatus',
  'targetdbserverresourceid',
  'sourcedbservermetadata',
  'targetdbservermetadata',
  // Read-only properties of older versions.
  'migrationname',
  'migrationdetailslevel',
])

/** @throws {InvalidInput} with everything that is wrong with the body */
export function parsePut(body: unknown): PutBody {
  return parse(putSchema, withoutReadOnly(body))
}

/** @throws {InvalidInput} with everything that is wrong with the body; fields that cannot be changed are named so */
export function parsePatch(body: unknown): PatchBody {
  return parse(patchSchema, body, (name) => putOnly.has(name))
}

const putOnly = new Set([
  'location',
  ...Object.keys(fixed).map((name) => `properties.${name}`),
  ...Object.keys(pgflexOptionsSchema.shape).map((name) => `properties.pgflex.${name}`),
])

function parse<S extends z.ZodType>(schema: S, body: unknown, isFixed?: (name: string) => boolean): z.infer<S> {
  const result = schema.safeParse(canonicalBody(schema, body))
  if (result.success) return result.data
  const fixedNames = new Map([...putOnly].map((name) => [name.toLowerCase(), name]))
  throw new InvalidInput(
    problemsOf(schema, result.error).map((one) => {
      const name = fixedNames.get(one.target.toLowerCase())
      return name !== undefined && isFixed?.(name)
        ? { ...one, target: name, message: `${name} cannot be changed after the migration is created.` }
        : one
    }),
  )
}

function withoutReadOnly(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  return Object.fromEntries(
    Object.entries(body)
      .filter(([key]) => !READ_ONLY.has(key.toLowerCase()))
      .map(([key, value]) => [key, key.toLowerCase() === 'properties' ? withoutReadOnlyProperties(value) : value]),
  )
}

function withoutReadOnlyProperties(properties: unknown): unknown {
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return properties
  return Object.fromEntries(Object.entries(properties).filter(([key]) => !READ_ONLY_PROPERTIES.has(key.toLowerCase())))
}

export function isTrue(value: 'True' | 'False' | undefined): boolean {
  return value === 'True'
}

/** A time of the wire as ISO 8601 UTC; one without a zone is UTC. */
export function utc(text: string): string {
  return new Date(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`).toISOString()
}
