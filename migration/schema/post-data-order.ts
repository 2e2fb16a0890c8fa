import type { PlannedStatement } from './statements.ts'
import { statisticsTable } from './statistics-object.ts'

/**
 * When a statement of post-data is run. While changes are followed, nothing may exist on the target that fires
 * on them or checks them: the role that applies them may not set session_replication_role.
 */
export type PostDataStage = 'load' | 'cutover' | 'validate'

const CUTOVER_KINDS = 'TRIGGER|RULE|EVENT TRIGGER|ROW SECURITY|POLICY|PUBLICATION|FK CONSTRAINT'
const CUTOVER = new RegExp(
  `^((COMMENT ON|OWNER OF|SECURITY LABEL ON|OPTION OF) )?(${CUTOVER_KINDS})$|^(PUBLICATION TABLE|MATERIALIZED VIEW DATA|DEFAULT ACL)$`,
)

export const VALIDATE = 'VALIDATE FK CONSTRAINT'
/** A foreign key of a partitioned table, when those of its partitions are valid. */
export const ATTACH = 'ATTACHED FK CONSTRAINT'
export const ANALYZE_VIEW = 'ANALYZE MATERIALIZED VIEW'
export const ANALYZE = 'ANALYZE'

export function stageOf(kind: string): PostDataStage {
  if (kind === VALIDATE || kind === ANALYZE_VIEW || kind.endsWith(ATTACH)) return 'validate'
  return CUTOVER.test(kind) ? 'cutover' : 'load'
}

/** One transaction, or several statements that are sent as one. */
export interface Transaction {
  statements: PlannedStatement[]
  /** Positions of statements that have to have been tried before it. */
  after: readonly number[]
}

export interface Schedule {
  /** Transactions that need nothing of each other but what they say: the first ones that are due first. */
  parallel: Transaction[]
  /** Transactions to run one after the other when the parallel ones are done. */
  sequential: PlannedStatement[][]
}

/** A table up to this size is indexed in no time: round trips count, not parallel work. Bytes. */
const SMALL_TABLE = 8 * 1024 * 1024
const SMALL_BATCH = 50
/** As many as a transaction of pre-data. */
const BATCH = 200

/** What is known of the tables of the target, by `schema.table`. */
export interface LoadedTables {
  /**
   * Tables that are not in it (they may be made by another statement of this stage) keep their statements in the
   * order.
   */
  bytes: Map<string, number>
  /** Tables of which ANALYZE reads others too, with all of these. */
  descendants: Map<string, string[]>
}

/**
 * Indexes and exclusion constraints in parallel, those of the largest tables first, each followed by the statistics
 * of its table; then all the rest in the order of pg_dump, which is one that keeps dependencies: constraints on these
 * indexes, attachments of partition indexes, cluster and replica identity, views that need a primary key, comments.
 */
export function scheduleLoad(statements: PlannedStatement[], { bytes, descendants }: LoadedTables): Schedule {
  const bytesOf = (statement: PlannedStatement): number | undefined => bytes.get(tableOf(statement))
  const isSmall = (statement: PlannedStatement): boolean => (bytesOf(statement) ?? 0) <= SMALL_TABLE
  const builds = statements
    .filter((statement) => isBuild(statement) && bytesOf(statement) !== undefined)
    .sort((a, b) => bytesOf(b)! - bytesOf(a)! || a.position - b.position)
  const analyses = withStatistics(statements)
  const alone = analyses.filter(({ analyze }) => isSmall(analyze) && !descendants.has(tableOf(analyze)))
  const buildsOf = Map.groupBy(builds, tableOf)
  const together = Map.groupBy(builds.filter(isSmall), tableOf)
  for (const { analyze, all } of alone)
    together.set(tableOf(analyze), [...(together.get(tableOf(analyze)) ?? []), ...all])
  const others = analyses
    .filter((one) => !alone.includes(one))
    .map(({ analyze, all }) => {
      const tables = [tableOf(analyze), ...(descendants.get(tableOf(analyze)) ?? [])]
      const after = tables.flatMap((table) => buildsOf.get(table) ?? []).map(({ position }) => position)
      return { statements: all, after }
    })
  const rest = [
    ...builds.filter((statement) => !isSmall(statement)).map((statement) => [statement]),
    ...batchesByTable(together.values()),
  ]
  // Statistics are due when the indexes of their table are there: before the indexes of smaller tables, then.
  const parallel = [...others, ...rest.map((batch) => ({ statements: batch, after: [] }))]
  const inParallel = new Set(parallel.flatMap((transaction) => transaction.statements))
  return { parallel, sequential: batches(statements.filter((statement) => !inParallel.has(statement))) }
}

interface Analysis {
  analyze: PlannedStatement
  /** With the extended statistics of the table in front, which would be without figures otherwise. */
  all: PlannedStatement[]
}

function withStatistics(statements: PlannedStatement[]): Analysis[] {
  const byTable = new Map<string, PlannedStatement[]>()
  const makers = new Map<string, string>()
  for (const statement of statements.filter(({ kind }) => kind === 'STATISTICS')) {
    const name = `${statement.schemaName}.${statement.objectName}`
    // ALTER STATISTICS (its target) follows, and does not name the table.
    const table = statisticsTable(statement) ?? makers.get(name)
    if (table === undefined) continue
    makers.set(name, table)
    byTable.set(table, [...(byTable.get(table) ?? []), statement])
  }
  return statements
    .filter(({ kind }) => kind === ANALYZE)
    .map((analyze) => ({ analyze, all: [...(byTable.get(tableOf(analyze)) ?? []), analyze] }))
}

function tableOf({ schemaName, tableName }: PlannedStatement): string {
  return `${schemaName}.${tableName}`
}

/**
 * The cutover in the order of pg_dump, but for these: foreign keys and what of their validation is due before row
 * security; row security and policies; materialized views, which may be subject to policies; and event triggers,
 * which would fire on all of this, last.
 */
export function scheduleCutover(statements: PlannedStatement[]): Schedule {
  return {
    parallel: [],
    sequential: batches(
      statements.toSorted((a, b) => cutoverRank(a.kind) - cutoverRank(b.kind) || a.position - b.position),
    ),
  }
}

function cutoverRank(kind: string): number {
  if (kind.endsWith('EVENT TRIGGER')) return 5
  if (kind === 'MATERIALIZED VIEW DATA') return 4
  if (/(ROW SECURITY|POLICY)$/.test(kind)) return 3
  if (kind === VALIDATE) return 2
  return kind.endsWith('FK CONSTRAINT') ? 1 : 0
}

/**
 * Two validations of keys to the same table do not hinder each other, nor readers and writers; then keys of partitioned
 * tables, and their comments.
 */
export function scheduleValidation(statements: PlannedStatement[]): Schedule {
  const [attached, others] = [
    statements.filter(({ kind }) => kind.endsWith(ATTACH)),
    statements.filter(({ kind }) => !kind.endsWith(ATTACH)),
  ]
  return {
    parallel: others.map((statement) => ({ statements: [statement], after: [] })),
    sequential: attached.map((statement) => [statement]),
  }
}

/** Two tables of this size together are checked within about a second: bytes. */
const SMALL_VALIDATION = 64 * 1024 * 1024

/**
 * Validations that cannot be made once row security is forced upon the owner of one of the two tables (the server
 * would have to read them through policies) and that are short: they are made at the cutover, before.
 *
 * @param forced tables with FORCE ROW LEVEL SECURITY, by `schema.table`; none when our role bypasses it
 * @param referenced the table that a foreign key refers to, as `schema.table`
 */
export function validationsBeforeRowSecurity(
  statements: PlannedStatement[],
  forced: Set<string>,
  tableBytes: Map<string, number>,
  referenced: (foreignKey: PlannedStatement) => string | undefined,
): PlannedStatement[] {
  const nameOf = ({ schemaName, tableName }: PlannedStatement): string => `${schemaName}.${tableName}`
  const keyOf = (statement: PlannedStatement): string => JSON.stringify([nameOf(statement), statement.objectName])
  const targets = new Map(
    statements.filter(({ kind }) => kind === 'FK CONSTRAINT').map((key) => [keyOf(key), referenced(key)]),
  )
  return statements.filter((statement) => {
    if (statement.kind !== VALIDATE) return false
    const tables = [nameOf(statement), targets.get(keyOf(statement)) ?? '']
    const bytes = tables.reduce((sum, table) => sum + (tableBytes.get(table) ?? 0), 0)
    return tables.some((table) => forced.has(table)) && bytes <= SMALL_VALIDATION
  })
}

/** Reads the table: an index, or a constraint that makes one by itself. */
function isBuild({ kind, sql }: PlannedStatement): boolean {
  return kind === 'INDEX' || (kind === 'CONSTRAINT' && !/ USING INDEX /i.test(sql))
}

function scansRows({ kind, sql }: PlannedStatement): boolean {
  return (
    kind === 'MATERIALIZED VIEW DATA' || kind === VALIDATE || (kind === 'FK CONSTRAINT' && !sql.endsWith(' NOT VALID'))
  )
}

/** All statements of a table are in one transaction, so that no two of them wait for each other's locks. */
function batchesByTable(tables: Iterable<PlannedStatement[]>): PlannedStatement[][] {
  const result: PlannedStatement[][] = []
  for (const group of tables) {
    const last = result.at(-1)
    if (last && last.length + group.length <= SMALL_BATCH) last.push(...group)
    else result.push([...group])
  }
  return result
}

/** What may take long is a transaction of its own. */
function batches(statements: PlannedStatement[]): PlannedStatement[][] {
  const result: PlannedStatement[][] = []
  let current: PlannedStatement[] = []
  for (const statement of statements) {
    const alone = isBuild(statement) || scansRows(statement)
    if (current.length === BATCH || (alone && current.length > 0)) {
      result.push(current)
      current = []
    }
    if (alone) result.push([statement])
    else current.push(statement)
  }
  return current.length === 0 ? result : [...result, current]
}
