import { expect, test } from 'vitest'
import type { Lsn } from '../../../migration/lsn.ts'
import { Acknowledgement } from '../../../migration/replicate/acknowledgement.ts'

interface Recording {
  lsn: Lsn
  done(written?: boolean): void
  failed(): void
}

/** An acknowledgement whose records end when the test says so. */
function start(recorded: Lsn): Disposable & {
  acknowledgement: Acknowledgement
  told: Lsn[]
  recordings: Recording[]
  errors: unknown[]
} {
  const told: Lsn[] = []
  const recordings: Recording[] = []
  const errors: unknown[] = []
  const acknowledgement = new Acknowledgement({
    stream: { acknowledge: (lsn) => void told.push(lsn) },
    recorded,
    record: (lsn) =>
      new Promise((resolve, reject) => {
        recordings.push({ lsn, done: (written = true) => resolve(written), failed: () => reject(new Error('away')) })
      }),
    onError: (error) => void errors.push(error),
  })
  return { acknowledgement, told, recordings, errors, [Symbol.dispose]: () => acknowledgement[Symbol.dispose]() }
}

test('a place without a commit is told to the source only when it has been recorded', async () => {
  using run = start(10n)
  run.acknowledgement.acknowledge(20n)
  expect(run.told.filter((lsn) => lsn > 10n)).toEqual([])
  run.recordings[0]!.done()
  await expect.poll(() => run.told.at(-1)).toBe(20n)
})

test('a commit is told at once, and what comes after it when it has been recorded', async () => {
  using run = start(10n)
  run.acknowledgement.committed(30n)
  run.acknowledgement.acknowledge(30n)
  expect(run.told).toEqual([30n])
  run.acknowledgement.committed(40n)
  run.acknowledgement.acknowledge(45n)
  expect(run.told.at(-1)).toBe(40n)
  expect(run.recordings.map(({ lsn }) => lsn)).toEqual([45n])
  run.recordings[0]!.done()
  await expect.poll(() => run.told.at(-1)).toBe(45n)
})

test('many places are recorded as few, the last one among them', async () => {
  using run = start(10n)
  for (let lsn = 11n; lsn <= 1_000n; lsn++) run.acknowledgement.acknowledge(lsn)
  expect(run.recordings.map(({ lsn }) => lsn)).toEqual([11n])
  run.recordings[0]!.done()
  await expect.poll(() => run.recordings.map(({ lsn }) => lsn)).toEqual([11n, 1_000n])
  run.recordings[1]!.done()
  await expect.poll(() => run.told.at(-1)).toBe(1_000n)
})

test('what was recorded before is not told by itself: this stream has to come to it', () => {
  using run = start(100n)
  run.acknowledgement.acknowledge(20n)
  expect(run.told).toEqual([20n])
})

test('what could not be recorded is never told', async () => {
  using run = start(10n)
  run.acknowledgement.acknowledge(20n)
  run.recordings[0]!.failed()
  await expect.poll(() => run.errors.length).toBe(1)
  run.acknowledgement.acknowledge(30n)
  expect(run.recordings[1]!.lsn).toBe(30n)
  run.recordings[1]!.done(false)
  await Promise.resolve()
  expect(run.told.every((lsn) => lsn <= 10n)).toBe(true)
})
