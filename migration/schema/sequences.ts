import type { Connection } from '../connect.ts'
import { id } from '../sql.ts'

/** Which sequences to take along. */
export type SequenceFilter = (schema: string, sequence: string) => boolean

export interface SequenceDifference {
  name: string
  /** `last_value, is_called`, or that it is missing. */
  source: string
  target: string
}

interface Sequence {
  schema: string
  name: string
  lastValue: string
  isCalled: string
}

/** Sequences of one query. */
const PER_QUERY = 100

/**
 * Sets every sequence of the target, those of identity and serial columns too, exactly as it is on the source.
 * Sequences that only one side has are left alone: {@link compareSequences} tells.
 *
 * @returns how many were set
 */
export async function copySequences(
  source: Connection,
  target: Connection,
  filter: SequenceFilter = () => true,
): Promise<{ sequences: number }> {
  const there = new Set((await sequenceNames(target)).map(({ schema, name }) => id(schema, name)))
  const wanted = (await sequenceNames(source)).filter(
    ({ schema, name }) => filter(schema, name) && there.has(id(schema, name)),
  )
  const sequences = await readSequences(source, wanted)
  for (let first = 0; first < sequences.length; first += PER_QUERY) {
    const batch = sequences.slice(first, first + PER_QUERY)
    await target.query(
      `select setval(name::regclass, value, called)
         from unnest($1::text[], $2::bigint[], $3::bool[]) as s (name, value, called)`,
      [
        batch.map(({ schema, name }) => id(schema, name)),
        batch.map(({ lastValue }) => lastValue),
        batch.map(({ isCalled }) => isCalled),
      ],
    )
  }
  return { sequences: sequences.length }
}

/** The sequences that are not equal on both sides, those that only one side has among them. */
export async function compareSequences(
  source: Connection,
  target: Connection,
  filter: SequenceFilter = () => true,
): Promise<SequenceDifference[]> {
  const read = async (connection: Connection): Promise<Map<string, string>> => {
    const names = (await sequenceNames(connection)).filter(({ schema, name }) => filter(schema, name))
    const sequences = await readSequences(connection, names)
    return new Map(
      sequences.map((sequence) => [
        id(sequence.schema, sequence.name),
        `${sequence.lastValue}, ${sequence.isCalled === 't' ? 'called' : 'not called'}`,
      ]),
    )
  }
  const [ofSource, ofTarget] = await Promise.all([read(source), read(target)])
  return [...new Set([...ofSource.keys(), ...ofTarget.keys()])]
    .map((name) => ({ name, source: ofSource.get(name) ?? 'missing', target: ofTarget.get(name) ?? 'missing' }))
    .filter((difference) => difference.source !== difference.target)
}

/** Sequences of users: neither of the system, nor temporary, nor of an extension, nor our own. */
async function sequenceNames(connection: Connection): Promise<{ schema: string; name: string }[]> {
  const { rows } = await connection.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relkind = 'S' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
        and not exists (
              select from pg_catalog.pg_depend as d
               where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
      order by n.nspname, c.relname`,
  )
  return rows
}

/** The sequence itself says whether its last value has been given out: pg_sequences does not. */
async function readSequences(connection: Connection, names: { schema: string; name: string }[]): Promise<Sequence[]> {
  const sequences: Sequence[] = []
  for (let first = 0; first < names.length; first += PER_QUERY) {
    const batch = names.slice(first, first + PER_QUERY)
    const { rows } = await connection.query<Record<'n' | 'lastValue' | 'isCalled', string>>(
      batch
        .map(
          ({ schema, name }, n) =>
            `select ${n} as n, last_value as "lastValue", is_called as "isCalled" from ${id(schema, name)}`,
        )
        .join(' union all '),
    )
    for (const { n, lastValue, isCalled } of rows) sequences.push({ ...batch[Number(n)]!, lastValue, isCalled })
  }
  return sequences
}
