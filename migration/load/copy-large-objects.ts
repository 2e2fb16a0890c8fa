import type { Connection } from '../connect.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import type { TargetRoles } from '../schema/roles.ts'
import { id } from '../sql.ts'
import { digestOf, type Digest } from '../verify/table-hash.ts'
import type { CopyPace } from './copy-pace.ts'
import { relayCopies } from './copy-relay.ts'
import type { CopySessions } from './copy-session.ts'
import { chunksOf, compareRange, type Chunk, type Piece } from './large-object-piece.ts'
import { markRange, type LargeObjectRange } from './large-object-range.ts'
import { rightsStatements, wantedOnTarget } from './large-object-rights.ts'
import { listLargeObjects, type LargeObject } from './large-object.ts'

export interface LargeObjectPass {
  /** Names the pass in pgflex.large_object_range. */
  pass: string
  /** Their fences are checked before each commit. */
  leases: Pick<Lease, 'name' | 'fence'>[]
  roles: TargetRoles
  digest: Digest
  pace: CopyPace
  /** An exported snapshot to read under; without it, each range is read under one of its own. */
  snapshot?: string
}

type Sessions = Pick<CopySessions, 'reader' | 'writer'>

/** INV_WRITE of libpq-fs.h */
const INV_WRITE = 0x20000

/**
 * Makes the large objects of a range on the target what they are on the source: those that are there already are
 * compared piece by piece, by digests that both servers compute, and only what differs is written. So it is the
 * same work whether it is done for the first time, after a crash, twice, or again while the source is frozen. Each
 * chunk is a transaction of the target with the fence in it. Memory is bounded, whatever the size of an object.
 *
 * The sessions are of no use after an error: cut them.
 *
 * @throws {MigrationError} LeaseLost; RelayError, and what the servers say
 */
export async function copyLargeObjects(
  { reader, writer }: Sessions,
  range: LargeObjectRange,
  pass: LargeObjectPass,
): Promise<void> {
  await reader.query(
    `begin isolation level repeatable read read only${pass.snapshot === undefined ? '' : `; set transaction snapshot '${pass.snapshot}'`}`,
  )
  const source = await listLargeObjects(reader, range)
  await writer.query('begin')
  const { target, missing, dropped } = await makeObjects(writer, range, source)
  let objects = dropped
  for (const chunk of chunksOf(source.filter(({ readable }) => readable))) {
    const pieces = await differingPieces({ reader, writer }, chunk, target, pass.digest)
    await copyPieces({ reader, writer }, pieces, pass.pace)
    await truncate(writer, chunk, target)
    await describe(writer, chunk, target, pass.roles)
    for (const lease of pass.leases) await checkFence(writer, lease)
    const touched = new Set(pieces.map(({ oid }) => oid))
    objects += chunk.complete.filter(({ oid }) => touched.has(oid) || missing.has(oid)).length
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
    await markRange(writer, pass.pass, range, { done: chunk.last, objects, bytes })
    objects = 0
    await writer.query(chunk.last ? 'commit' : 'commit; begin')
  }
  await reader.query('commit')
}

type Present = Map<number, LargeObject>

/** Makes what is missing on the target and drops what the source no longer has. */
async function makeObjects(
  writer: Connection,
  range: LargeObjectRange,
  source: LargeObject[],
): Promise<{ target: Present; missing: Set<number>; dropped: number }> {
  let target = await listLargeObjects(writer, range)
  const { missing, dropped, common } = compareRange(source, target)
  await writer.query('select lo_unlink(oid) from unnest($1::int8[]::oid[]) as o (oid)', [dropped])
  await writer.query('select lo_create(oid) from unnest($1::int8[]::oid[]) as o (oid)', [missing])
  // An owner may have taken its own rights away: as its member we give them back, to read and write; in the end
  // they are what they are on the source.
  const shut = common.filter(({ readable, writable }) => !readable || !writable)
  await run(
    writer,
    shut.map(({ oid, owner }) => `grant all on large object ${oid} to ${id(owner)}`),
  )
  // New ones may have default privileges, from PostgreSQL 18 on.
  if (missing.length + dropped.length + shut.length > 0) target = await listLargeObjects(writer, range)
  return {
    target: new Map(target.map((object) => [object.oid, object])),
    missing: new Set(missing),
    dropped: dropped.length,
  }
}

/** Leaves out what the target has already. What reaches beyond the end of its object there is not looked at. */
async function differingPieces(
  { reader, writer }: Sessions,
  { pieces }: Chunk,
  target: Present,
  digest: Digest,
): Promise<Piece[]> {
  const comparable = pieces.filter(({ oid, start, length }) => start + length <= target.get(oid)!.size)
  if (comparable.length === 0) return pieces
  const [ours, theirs] = await Promise.all(
    [reader, writer].map((connection) => digests(connection, comparable, digest)),
  )
  const equal = new Set(comparable.filter((_, n) => ours![n] === theirs![n]))
  return pieces.filter((piece) => !equal.has(piece))
}

async function digests(connection: Connection, pieces: Piece[], digest: Digest): Promise<string[]> {
  const { rows } = await connection.query<{ digest: string }>(
    `select ${digestOf('lo_get(p.oid::oid, p.start, p.length)', digest)} as digest
       from unnest($1::int8[], $2::int8[], $3::int[]) with ordinality as p (oid, start, length, n)
      order by n`,
    [pieces.map(({ oid }) => oid), pieces.map(({ start }) => start), pieces.map(({ length }) => length)],
  )
  return rows.map(({ digest: text }) => text)
}

/** Reads pieces on the source and writes them on the target, in one COPY. */
async function copyPieces(sessions: Sessions, pieces: Piece[], pace: CopyPace): Promise<void> {
  if (pieces.length === 0) return
  const list = (values: number[]): string => `'{${values.join(',')}}'`
  await relayCopies(sessions, {
    read: `copy (
      select p.oid::oid, p.start, lo_get(p.oid::oid, p.start, p.length)
        from unnest(${list(pieces.map(({ oid }) => oid))}::int8[], ${list(pieces.map(({ start }) => start))}::int8[],
                    ${list(pieces.map(({ length }) => length))}::int[]) as p (oid, start, length)
    ) to stdout (format binary)`,
    write: 'copy pgflex.large_object_piece (loid, start, data) from stdin (format binary)',
    onBytes: pace,
  })
}

/** Shortens what was longer on the target. */
async function truncate(writer: Connection, { complete }: Chunk, target: Present): Promise<void> {
  const longer = complete.filter(({ oid, size }) => target.get(oid)!.size > size)
  if (longer.length === 0) return
  await writer.query(
    `select lo_truncate64(o.fd, o.size) + lo_close(o.fd)
       from (select lo_open(oid::oid, ${INV_WRITE}) as fd, size from unnest($1::int8[], $2::int8[]) as o (oid, size) offset 0) as o`,
    [longer.map(({ oid }) => oid), longer.map(({ size }) => size)],
  )
}

/** Owner, rights and comment, when the content is there: by then we may have fewer rights. */
async function describe(writer: Connection, { complete }: Chunk, target: Present, roles: TargetRoles): Promise<void> {
  await run(
    writer,
    complete.flatMap((object) => rightsStatements(wantedOnTarget(object, roles), target.get(object.oid)!)),
  )
}

async function run(writer: Connection, statements: string[]): Promise<void> {
  if (statements.length > 0) await writer.query(statements.join(';\n'))
}
