import { parseSync, type Constraint, type Node } from './parser.ts'
import { id, literal } from '../sql.ts'
import { canHaveOwnKeys, constraintKey, splitPartitionedKey, type Leaf } from './partition-foreign-keys.ts'
import { ATTACH, VALIDATE } from './post-data-order.ts'
import type { SchemaStatement } from './split.ts'
import type { NewStatement } from './statements.ts'

/** What the target allows for the table that a constraint is on. */
export interface ConstraintTarget {
  /** By `schema.table`. */
  partitioned: Set<string>
  /** Of partitioned tables that have ordinary tables below them, and nothing else, in the same way. */
  leaves?: Map<string, Leaf[]>
  /** server_version_num */
  version: number
}

/**
 * Constraints in parts that lock their table for a moment only: a unique index first, the constraint with this
 * index later; a foreign key that checks new rows first, and its validation later.
 */
export function splitConstraints(statements: NewStatement[], target: ConstraintTarget): NewStatement[] {
  const validations: NewStatement[] = []
  const foreignKeys = new Set<string>()
  const attached = new Set<string>()
  const keyOf = ({ schemaName, tableName, objectName }: SchemaStatement): string =>
    constraintKey(schemaName, tableName, objectName)
  const planned = new Set(statements.filter(({ kind }) => kind.endsWith('CONSTRAINT')).map(keyOf))
  const parts = statements.flatMap((statement) => {
    if (statement.state === 'skipped') return [statement]
    if (statement.kind === 'CONSTRAINT') return splitUnique(statement, target)
    if (statement.kind !== 'FK CONSTRAINT') return [statement]
    foreignKeys.add(keyOf(statement))
    const { added, later } = splitForeignKey(statement, target, planned)
    validations.push(...later)
    if (later.some(({ kind }) => kind === ATTACH)) attached.add(keyOf(statement))
    return added
  })
  const comments = parts.filter(({ kind }) => kind === 'COMMENT ON CONSTRAINT')
  const later = comments.filter((statement) => attached.has(keyOf(statement)))
  return [
    ...parts
      .filter((statement) => !later.includes(statement))
      .map((statement) =>
        statement.kind === 'COMMENT ON CONSTRAINT' && foreignKeys.has(keyOf(statement))
          ? { ...statement, kind: 'COMMENT ON FK CONSTRAINT' }
          : statement,
      ),
    ...validations,
    ...later.map((statement) => ({ ...statement, kind: `COMMENT ON ${ATTACH}` })),
  ]
}

/** https://www.postgresql.org/docs/current/sql-altertable.html (ADD table_constraint_using_index; not for partitioned tables) */
function splitUnique(statement: SchemaStatement, { partitioned }: ConstraintTarget): SchemaStatement[] {
  const { schemaName, tableName, objectName } = statement
  const constraint = constraintOf(statement.sql)
  const unique = constraint?.contype === 'CONSTR_PRIMARY' || constraint?.contype === 'CONSTR_UNIQUE'
  if (!unique || schemaName === null || tableName === null || objectName === null) return [statement]
  // A key WITHOUT OVERLAPS stands on a GiST index that only the constraint itself can make.
  if (partitioned.has(`${schemaName}.${tableName}`) || constraint.without_overlaps === true) return [statement]
  const table = id(schemaName, tableName)
  const including = strings(constraint.including)
  const options = (constraint.options ?? []).map(option)
  const index = [
    `CREATE UNIQUE INDEX ${id(objectName)} ON ${table} USING btree (${strings(constraint.keys).map(quote).join(', ')})`,
    ...(including.length > 0 ? [`INCLUDE (${including.map(quote).join(', ')})`] : []),
    ...(constraint.nulls_not_distinct === true ? ['NULLS NOT DISTINCT'] : []),
    ...(options.length > 0 ? [`WITH (${options.join(', ')})`] : []),
  ]
  const added = [
    `ALTER TABLE ONLY ${table} ADD CONSTRAINT ${id(objectName)}`,
    constraint.contype === 'CONSTR_PRIMARY' ? 'PRIMARY KEY' : 'UNIQUE',
    `USING INDEX ${id(objectName)}`,
    ...(constraint.deferrable === true ? ['DEFERRABLE'] : []),
    ...(constraint.initdeferred === true ? ['INITIALLY DEFERRED'] : []),
  ]
  return [
    { ...statement, kind: 'INDEX', sql: index.join(' ') },
    { ...statement, sql: added.join(' ') },
  ]
}

/** A foreign key that checks new rows first, and its validation later. */
function splitForeignKey(
  statement: SchemaStatement,
  { partitioned, leaves, version }: ConstraintTarget,
  planned: Set<string>,
): { added: SchemaStatement[]; later: SchemaStatement[] } {
  const { schemaName, tableName, objectName, sql } = statement
  const whole = { added: [statement], later: [] }
  const constraint = constraintOf(sql)
  // One that is not valid on the source stays so; one that is not enforced has nothing to validate.
  if (!constraint || constraint.skip_validation === true || constraint.is_enforced !== true) return whole
  if (schemaName === null || tableName === null || objectName === null) return whole
  if (version < 180000 && partitioned.has(`${schemaName}.${tableName}`)) {
    const below = leaves?.get(`${schemaName}.${tableName}`) ?? []
    // PostgreSQL 11 would not take the keys of the partitions for its own.
    if (version < 120000 || !canHaveOwnKeys(objectName, below, planned)) return whole
    for (const { schema, name } of below) planned.add(constraintKey(schema, name, objectName))
    // Offsets are bytes of the UTF-8 text.
    const definition = Buffer.from(sql).toString('utf8', constraint.location ?? 0)
    return splitPartitionedKey(statement, definition, below)
  }
  return {
    added: [{ ...statement, sql: `${sql} NOT VALID` }],
    later: [
      {
        ...statement,
        kind: VALIDATE,
        sql: `ALTER TABLE ${id(schemaName, tableName)} VALIDATE CONSTRAINT ${id(objectName)}`,
      },
    ],
  }
}

/** The table that a foreign key refers to, as `schema.table`. */
export function referencedTable({ sql }: SchemaStatement): string | undefined {
  const { schemaname, relname } = constraintOf(sql)?.pktable ?? {}
  return schemaname === undefined || relname === undefined ? undefined : `${schemaname}.${relname}`
}

function constraintOf(sql: string): Constraint | undefined {
  const statement = parseSync(sql).stmts?.[0]?.stmt
  if (statement === undefined || !('AlterTableStmt' in statement)) return undefined
  const command = statement.AlterTableStmt.cmds?.[0]
  const def = command !== undefined && 'AlterTableCmd' in command ? command.AlterTableCmd.def : undefined
  return def !== undefined && 'Constraint' in def ? def.Constraint : undefined
}

function strings(nodes: Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => ('String' in node ? [node.String.sval ?? ''] : []))
}

function quote(name: string): string {
  return id(name)
}

/** A storage parameter, such as fillfactor. */
function option(node: Node): string {
  if (!('DefElem' in node)) throw new Error('A storage parameter has an unknown form.')
  const { defname, arg } = node.DefElem
  const value =
    arg === undefined
      ? 'true'
      : 'String' in arg
        ? (arg.String.sval ?? '')
        : 'Integer' in arg
          ? String(arg.Integer.ival ?? 0)
          : 'Float' in arg
            ? (arg.Float.fval ?? '')
            : strings('TypeName' in arg ? arg.TypeName.names : []).at(-1)
  if (value === undefined) throw new Error(`The storage parameter ${defname} has an unknown form.`)
  return `${id(defname ?? '')} = ${literal(value)}`
}
