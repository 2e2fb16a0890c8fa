import { MigrationError } from '../../../migration/errors.ts'
import type { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import { random } from './workload.ts'

type Next = ReturnType<typeof random>

/** What lengths, counts and flags are never, or rarely. */
const EXTREMES = [0xffffffff, 0x80000000, 0x7fffffff, 0xffff, 0x10000, 0, 1]

/** A message with some damage: other bytes, wrong lengths, cut off, too long, or mixed with another message. */
export function damage(bytes: Buffer, other: Buffer, next: Next): Buffer {
  let damaged = Buffer.from(bytes)
  for (let times = 1 + next(4); times > 0; times--) {
    const at = next(damaged.length + 1)
    const kinds: (() => Buffer)[] = [
      () => damaged.fill(next(256), at, Math.min(at + 1, damaged.length)),
      () => {
        if (damaged[at] !== undefined) damaged[at] ^= 1 << next(8)
        return damaged
      },
      () =>
        at + 4 <= damaged.length ? (damaged.writeUInt32BE(EXTREMES[next(EXTREMES.length)]!, at), damaged) : damaged,
      () => (at + 2 <= damaged.length ? (damaged.writeUInt16BE(next(65_536), at), damaged) : damaged),
      () => damaged.subarray(0, at),
      () => Buffer.concat([damaged.subarray(0, at), damaged.subarray(at + 1 + next(8))]),
      () => Buffer.concat([damaged.subarray(0, at), Buffer.alloc(1 + next(8), next(256)), damaged.subarray(at)]),
      () => Buffer.concat([damaged.subarray(0, at), other.subarray(next(other.length + 1))]),
      () => Buffer.concat([damaged, other]),
    ]
    damaged = Buffer.from(kinds[next(kinds.length)]!())
  }
  return damaged
}

/** What decoding comes to: a message, ProtocolViolation, or what must not be. */
export function outcome(decoder: PgoutputDecoder, bytes: Buffer): string {
  try {
    return typeof decoder.decode(bytes).kind === 'string' ? 'message' : 'nothing'
  } catch (error) {
    return error instanceof MigrationError ? error.code : String(error)
  }
}
