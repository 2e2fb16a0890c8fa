import type { Connection } from '../../connect.ts'
import { MigrationError } from '../../errors.ts'
import type { TableName } from '../../load/tables.ts'
import { id } from '../../sql.ts'

/** A table with one of its parents, both by their names on either side. */
export interface Parentage extends TableName {
  parent: TableName
  /** Of a partition: FOR VALUES …, or DEFAULT. */
  bound: string | null
}

/** Parents of partitions and of children by inheritance. */
export async function readParents(connection: Connection): Promise<Parentage[]> {
  const { rows } = await connection.query<
    TableName & { parentSchema: string; parentName: string; bound: string | null }
  >(
    `select n.nspname as schema, c.relname as name, pn.nspname as "parentSchema", p.relname as "parentName",
            pg_get_expr(c.relpartbound, c.oid) as bound
       from pg_inherits i
       join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p')
       join pg_namespace n on n.oid = c.relnamespace
       join pg_class p on p.oid = i.inhparent
       join pg_namespace pn on pn.oid = p.relnamespace
      where n.nspname !~ '^pg_'
      order by i.inhrelid, i.inhseqno`,
  )
  return rows.map(({ schema, name, parentSchema, parentName, bound }) => ({
    schema,
    name,
    parent: { schema: parentSchema, name: parentName },
    bound,
  }))
}

/** A statement for the target, and what it is about. */
export interface ParentStep {
  table: TableName
  sql: string
  step: string
  /** It has a parent more, not a parent less. */
  attached: boolean
}

/**
 * What attaches the target's tables to the parents that they have on the source, and detaches them from others.
 * Rows of partitions come under the names of these, so that it does not matter when it is done.
 *
 * @param onTarget tables of the target
 * @param followed tables of the migration: the parents of others are nobody's business
 */
export function compareParents(
  source: readonly Parentage[],
  target: readonly Parentage[],
  onTarget: ReadonlySet<string>,
  followed: ReadonlySet<string>,
): ParentStep[] {
  const has = (list: readonly Parentage[], wanted: Parentage): Parentage | undefined =>
    list.find((other) => nameOf(other) === nameOf(wanted) && nameOf(other.parent) === nameOf(wanted.parent))
  const relevant = (each: Parentage): boolean => followed.has(nameOf(each)) && onTarget.has(nameOf(each))
  const detached = target.filter((each) => relevant(each) && !has(source, each))
  const attached = source.filter((each) => relevant(each) && onTarget.has(nameOf(each.parent)) && !has(target, each))
  return [
    ...detached.map((each) => ({
      table: each,
      attached: false,
      step: `${each.bound === null ? 'no longer a child' : 'detached as a partition'} of ${each.parent.schema}.${each.parent.name}`,
      sql:
        each.bound === null
          ? `alter table ${nameOf(each)} no inherit ${nameOf(each.parent)}`
          : `alter table ${nameOf(each.parent)} detach partition ${nameOf(each)}`,
    })),
    ...attached.map((each) => ({
      table: each,
      attached: true,
      step: `${each.bound === null ? 'made a child' : 'attached as a partition'} of ${each.parent.schema}.${each.parent.name}`,
      sql:
        each.bound === null
          ? `alter table ${nameOf(each)} inherit ${nameOf(each.parent)}`
          : `alter table ${nameOf(each.parent)} attach partition ${nameOf(each)} ${each.bound}`,
    })),
  ]
}

/** As the sets of names have it. */
export function nameOf({ schema, name }: TableName): string {
  return id(schema, name)
}

/** The error for a step that the target refuses. */
export function parentRefused({ table, sql, step }: ParentStep, cause: unknown): MigrationError {
  return new MigrationError(
    'SchemaChanged',
    `${table.schema}.${table.name} was changed on the source, and the target refused the same: ${step} (${(cause as Error).message}).`,
    { hint: `Mend the cause, or do it yourself on the target: ${sql};`, target: 'target', cause },
  )
}
