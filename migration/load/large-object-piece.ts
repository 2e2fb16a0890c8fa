import type { LargeObject } from './large-object.ts'

/** A part of a large object: read by one lo_get, written by one lo_put. */
export interface Piece {
  oid: number
  start: number
  length: number
}

/** What is written in one transaction. */
export interface Chunk {
  pieces: Piece[]
  /** Objects whose last piece is in this chunk, or that are empty: they are complete at its end. */
  complete: LargeObject[]
  last: boolean
}

/** Both servers hold a piece in memory, and one is more than round trips cost; a multiple of the page of 2 kB. */
export const PIECE_BYTES = 256 * 1024
/** What a crash costs, for each lane; a few seconds. */
export const CHUNK_BYTES = 64 * 1024 ** 2

/** Divides large objects into chunks, in their order: lazily, as one object of 4 TB has 4 million pieces. */
export function* chunksOf(
  objects: readonly LargeObject[],
  { pieceBytes = PIECE_BYTES, chunkBytes = CHUNK_BYTES } = {},
): Generator<Chunk, void, void> {
  let chunk: Chunk = { pieces: [], complete: [], last: false }
  let bytes = 0
  for (const object of objects) {
    for (let start = 0; start < object.size; start += pieceBytes) {
      const length = Math.min(pieceBytes, object.size - start)
      if (bytes > 0 && bytes + length > chunkBytes) {
        yield chunk
        chunk = { pieces: [], complete: [], last: false }
        bytes = 0
      }
      chunk.pieces.push({ oid: object.oid, start, length })
      bytes += length
    }
    chunk.complete.push(object)
  }
  yield { ...chunk, last: true }
}

/** How the large objects of a range differ, by what the catalogs say. */
export interface RangeDifference {
  /** On the source, and not on the target. */
  missing: number[]
  /** On the target, and no longer on the source. */
  dropped: number[]
  /** On both sides, but those that we may not read. */
  common: LargeObject[]
}

/** Those that we may not read on the source are neither missing nor dropped: they stay as they are. */
export function compareRange(source: readonly LargeObject[], target: readonly LargeObject[]): RangeDifference {
  const [there, here] = [new Map(target.map((object) => [object.oid, object])), new Set(source.map(({ oid }) => oid))]
  return {
    missing: source.filter(({ oid, readable }) => readable && !there.has(oid)).map(({ oid }) => oid),
    dropped: target.filter(({ oid }) => !here.has(oid)).map(({ oid }) => oid),
    common: source.filter(({ oid, readable }) => readable && there.has(oid)).map(({ oid }) => there.get(oid)!),
  }
}
