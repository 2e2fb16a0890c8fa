import type pg from 'pg'
import { id } from '../migration/sql.ts'

/**
 * The demo's own comparison of two databases. It shares nothing with the comparison of the product on purpose:
 * sorted digests of whole rows here, sums of digests there.
 */
export interface DatabaseComparison {
  equal: boolean
  tables: number
  rows: number
  sequences: number
  /** What differs, a line each. */
  differences: string[]
}

/** Compares the content of every table, every sequence, and which objects there are. */
export async function compareDatabases(source: pg.Client, target: pg.Client): Promise<DatabaseComparison> {
  const [ours, theirs] = await Promise.all([describe(source), describe(target)])
  const differences = [
    ...setDifferences('table', ours.tables.keys(), theirs.tables.keys()),
    ...setDifferences('object', ours.objects, theirs.objects),
    ...mapDifferences('sequence', ours.sequences, theirs.sequences),
  ]
  let rows = 0
  for (const [table, columns] of ours.tables) {
    if (theirs.tables.get(table) === undefined) continue
    if (theirs.tables.get(table) !== columns) {
      differences.push(`table ${table}: columns ${columns} on the source, ${theirs.tables.get(table)} on the target`)
      continue
    }
    const [left, right] = await Promise.all([content(source, table, columns), content(target, table, columns)])
    rows += left.rows
    if (left.rows !== right.rows) {
      differences.push(`table ${table}: ${left.rows} rows on the source, ${right.rows} on the target`)
    } else if (left.digest !== right.digest) {
      differences.push(`table ${table}: the content of its ${left.rows} rows differs`)
    } else continue
    differences.push(...(await someRows(source, target, table, columns)))
  }
  return {
    equal: differences.length === 0,
    tables: ours.tables.size,
    rows,
    sequences: ours.sequences.size,
    differences,
  }
}

interface Description {
  /** By quoted name: the quoted names of the columns, sorted. */
  tables: Map<string, string>
  /** By quoted name: `last_value is_called`. */
  sequences: Map<string, string>
  /** Indexes, constraints, triggers, functions, types and columns in words. */
  objects: Set<string>
}

const USER_SCHEMA = `n.nspname not in ('pg_catalog', 'information_schema', 'pgflex') and n.nspname !~ '^pg_(toast|temp)'`

async function describe(client: pg.Client): Promise<Description> {
  await client.query(`
    set search_path = pg_catalog;
    set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC';
    set extra_float_digits = 3; set bytea_output = 'hex'; set lc_monetary = 'C'`)
  const tables = await client.query<{ schema: string; name: string; columns: string[] }>(`
    select n.nspname as schema, c.relname as name,
           array(select a.attname::text from pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1) as columns
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.relpersistence <> 't' and ${USER_SCHEMA}
     order by 1, 2`)
  const names = await client.query<{ schema: string; name: string }>(`
    select n.nspname as schema, c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'S' and c.relpersistence <> 't' and ${USER_SCHEMA} order by 1, 2`)
  const sequences = new Map<string, string>()
  for (const { schema, name } of names.rows) {
    const { rows } = await client.query<{ state: string }>(
      `select last_value || ' ' || is_called as state from ${id(schema, name)}`,
    )
    sequences.set(id(schema, name), rows[0]!.state)
  }
  const objects = await client.query<{ object: string }>(OBJECTS)
  return {
    tables: new Map(
      tables.rows.map(({ schema, name, columns }) => [id(schema, name), columns.map((c) => id(c)).join(', ')]),
    ),
    sequences,
    objects: new Set(objects.rows.map(({ object }) => object)),
  }
}

/**
 * Names and properties that all majors have alike: NOT NULL is a constraint of its own from PostgreSQL 18 on,
 * partitions have the identity of their parent from 17 on, sequences have no row type from 14 on.
 */
const OBJECTS = `
  select format('index %s of %s%s%s%s', i.indexrelid::regclass, i.indrelid::regclass,
                case when i.indisunique then ' unique' end, case when i.indisprimary then ' primary' end,
                case when not i.indisvalid then ' invalid' end) as object
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA}
  union all
  select format('constraint %s of %s%s type %s%s%s%s', o.conname, nullif(o.conrelid, 0)::regclass, nullif(o.contypid, 0)::regtype,
                o.contype, case when o.condeferrable then ' deferrable' end, case when o.condeferred then ' deferred' end,
                case when not o.convalidated then ' not valid' end)
    from pg_constraint o join pg_namespace n on n.oid = o.connamespace where o.contype <> 'n' and o.conparentid = 0 and ${USER_SCHEMA}
  union all
  select format('trigger %s of %s enabled %s', t.tgname, t.tgrelid::regclass, t.tgenabled)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
   where not t.tgisinternal and ${USER_SCHEMA}
  union all
  select format('function %s', p.oid::regprocedure) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${USER_SCHEMA}
  union all
  select format('type %s %s', t.oid::regtype, t.typtype)
    from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
   where (t.typtype in ('e', 'd', 'r') or c.relkind = 'c') and ${USER_SCHEMA}
  union all
  select format('relation %s kind %s persistence %s replica identity %s%s', c.oid::regclass, c.relkind, c.relpersistence, c.relreplident,
                case when not c.relispopulated then ' not populated' end)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind <> 'c' and ${USER_SCHEMA}
  union all
  select format('column %s of %s type %s%s%s%s%s', a.attname, a.attrelid::regclass, format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then ' not null' end, case when a.atthasdef then ' default' end,
                case when not c.relispartition then nullif(' identity ' || a.attidentity::text, ' identity ') end, nullif(' generated ' || a.attgenerated::text, ' generated '))
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped and ${USER_SCHEMA}
  union all
  select format('sequence %s start %s increment %s from %s to %s cache %s%s', s.seqrelid::regclass, s.seqstart, s.seqincrement,
                s.seqmin, s.seqmax, s.seqcache, case when s.seqcycle then ' cycle' end)
    from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA}`

async function content(client: pg.Client, table: string, columns: string): Promise<{ rows: number; digest: string }> {
  const { rows } = await client.query<{ rows: string; digest: string }>(`
    select count(*) as rows, coalesce(md5(string_agg(digest, '' order by digest collate "C")), '') as digest
      from (select md5(row(${columns})::text) as digest from only ${table}) as hashed`)
  return { rows: Number(rows[0]!.rows), digest: rows[0]!.digest }
}

/** Rows of a table that are on one side only, a few of them and shortened. */
async function someRows(source: pg.Client, target: pg.Client, table: string, columns: string): Promise<string[]> {
  const read = async (client: pg.Client): Promise<Map<string, number>> => {
    const { rows } = await client.query<{ row: string; digest: string }>(
      `select left(row(${columns})::text, 160) || ' #' || md5(row(${columns})::text) as row from only ${table}`,
    )
    const counts = new Map<string, number>()
    for (const { row } of rows) counts.set(row, (counts.get(row) ?? 0) + 1)
    return counts
  }
  const [left, right] = await Promise.all([read(source), read(target)])
  const surplus = (these: Map<string, number>, those: Map<string, number>): string[] =>
    [...these].filter(([row, count]) => count > (those.get(row) ?? 0)).map(([row]) => row)
  return [
    ...surplus(left, right)
      .slice(0, 3)
      .map((row) => `  only on the source: ${row}`),
    ...surplus(right, left)
      .slice(0, 3)
      .map((row) => `  only on the target: ${row}`),
  ]
}

function setDifferences(kind: string, source: Iterable<string>, target: Iterable<string>): string[] {
  const [ours, theirs] = [new Set(source), new Set(target)]
  return [
    ...[...ours].filter((one) => !theirs.has(one)).map((one) => `${kind} missing on the target: ${one}`),
    ...[...theirs].filter((one) => !ours.has(one)).map((one) => `${kind} only on the target: ${one}`),
  ]
}

function mapDifferences(kind: string, source: Map<string, string>, target: Map<string, string>): string[] {
  const names = [...new Set([...source.keys(), ...target.keys()])]
  return names
    .filter((name) => source.get(name) !== target.get(name))
    .map(
      (name) =>
        `${kind} ${name}: ${source.get(name) ?? 'missing'} on the source, ${target.get(name) ?? 'missing'} on the target`,
    )
}
