import { expect, test } from 'vitest'
import { chunksOf, compareRange } from '../../../migration/load/large-object-piece.ts'
import { rangesBetween } from '../../../migration/load/large-object-range.ts'
import type { LargeObject } from '../../../migration/load/large-object.ts'

function object(oid: number, size = 0, readable = true): LargeObject {
  return { oid, size, owner: 'app', rights: {}, comment: null, readable, writable: true }
}

const small = { pieceBytes: 10, chunkBytes: 25 }

test('each byte is in exactly one piece, and each object is complete in the chunk of its last piece', () => {
  const objects = [object(1, 0), object(2, 10), object(3, 42), object(4, 1), object(5, 0)]
  const chunks = [...chunksOf(objects, small)]
  for (const { oid, size } of objects) {
    const pieces = chunks.flatMap((chunk) => chunk.pieces).filter((piece) => piece.oid === oid)
    expect(pieces.reduce((end, { start, length }) => (start === end ? end + length : NaN), 0)).toBe(size)
  }
  expect(chunks.map(({ complete }) => complete.map(({ oid }) => oid))).toEqual([[1, 2], [], [3, 4, 5]])
  expect(chunks.map(({ last }) => last)).toEqual([false, false, true])
  for (const { pieces } of chunks) expect(pieces.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(25)
})

test('a range without objects is one empty chunk, and an object of 4 TB is divided without being listed', () => {
  expect([...chunksOf([])]).toEqual([{ pieces: [], complete: [], last: true }])
  const first = chunksOf([object(1, 4 * 1024 ** 4)]).next().value
  expect(first).toMatchObject({ complete: [], last: false })
  expect((first as { pieces: unknown[] }).pieces).toHaveLength(256)
})

test('objects that may not be read are left as they are on the target', () => {
  const source = [object(1), object(2), object(3, 0, false), object(4, 0, false)]
  const { missing, dropped, common } = compareRange(source, [object(2), object(4), object(5)])
  expect({ missing, dropped, common: common.map(({ oid }) => oid) }).toEqual({
    missing: [1],
    dropped: [5],
    common: [2],
  })
})

test('ranges cover all oids, those that are given out later too', () => {
  expect(rangesBetween([], [])).toEqual([{ lower: 0, upper: 4_294_967_295 }])
  expect(rangesBetween([20, 30], [25, 30])).toEqual([
    { lower: 0, upper: 20 },
    { lower: 20, upper: 25 },
    { lower: 25, upper: 4_294_967_295 },
  ])
})
