import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lacksKey, movesKey, rowKey } from '../../../../migration/replicate/apply/row-key.ts'
import { BINARY_VALUE, TEXT_VALUE, tupleOf, UNCHANGED, type Tuple } from '../../../../migration/replicate/tuple.ts'

/** The same row with its values marked as binary ones. */
function asBinary(tuple: Tuple): Tuple {
  const bytes = Buffer.from(tuple.bytes)
  for (let offset = 0; offset < bytes.length;) {
    if (bytes[offset] === TEXT_VALUE) {
      bytes[offset] = BINARY_VALUE
      offset += 5 + bytes.readInt32BE(offset + 1)
    } else offset++
  }
  return { ...tuple, bytes }
}

/** Texts that are near each other: numbers with signs, zeros and many digits, and what looks like them. */
const text = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '00',
    '-0',
    '-1',
    '1',
    '01',
    '1.0',
    '1e3',
    ' 1',
    '123456789012345',
    '1234567890123456',
    '9007199254740993',
    'null',
    '\u{1f600}',
    'é',
  ),
  fc.string({ maxLength: 3 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
)

test('keys are the same if and only if all of their values are', () => {
  fc.assert(
    fc.property(
      fc.array(text, { minLength: 1, maxLength: 3 }),
      fc.array(text, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      (a, b, binary) => {
        fc.pre(a.length === b.length)
        const positions = a.map((_, i) => i)
        const key = (values: string[]): unknown => {
          const tuple = tupleOf(values)
          return rowKey(binary ? asBinary(tuple) : tuple, positions)
        }
        expect(key(a)).toBe(key([...a]))
        expect(key(a) === key(b)).toBe(a.every((value, i) => value === b[i]))
      },
    ),
    { numRuns: 5000 },
  )
})

test('binary numbers of four and eight bytes are all different keys, also those whose bytes are digits', () => {
  const keys = new Set<unknown>()
  const numbers = [0, 1, -1, 0x31323334, 0x30313233, 0x00000031, 0x31000000, 2147483647, -2147483648]
  for (const number of numbers) {
    const four = Buffer.alloc(4)
    four.writeInt32BE(number)
    keys.add(rowKey(asBinary(tupleOf([four])), [0]))
    const eight = Buffer.alloc(8)
    eight.writeBigInt64BE(BigInt(number))
    keys.add(rowKey(asBinary(tupleOf([eight])), [0]))
  }
  expect(keys.size).toBe(2 * numbers.length)
})

test('a key may stand anywhere in a row, and what is not a key does not matter', () => {
  const row = (a: string, b: string, c: string | null): Tuple => tupleOf([a, b, c])
  expect(rowKey(row('x', '1', 'k'), [2, 1])).toBe(rowKey(row('y', '1', 'k'), [2, 1]))
  expect(rowKey(row('x', '1', 'k'), [2, 1])).not.toBe(rowKey(row('x', 'k', '1'), [2, 1]))
  expect(rowKey(row('x', '1', null), [1, 2])).not.toBe(rowKey(row('x', '1', ''), [1, 2]))
  expect(lacksKey(tupleOf([UNCHANGED, 'a']), [0])).toBe(true)
  expect(lacksKey(tupleOf([UNCHANGED, 'a']), [1])).toBe(false)
  expect(movesKey(row('1', 'a', null), row('1', 'b', 'c'), [0])).toBe(false)
  expect(movesKey(row('1', 'a', null), row('2', 'a', null), [0])).toBe(true)
  expect(movesKey(row('1', 'a', null), tupleOf([UNCHANGED, 'b', null]), [0])).toBe(false)
  expect(movesKey(row('1', 'a', null), row('1', 'a', 'x'), [0, 2])).toBe(true)
})
