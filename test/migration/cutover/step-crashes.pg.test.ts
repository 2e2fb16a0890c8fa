import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { prepareCase, type CutoverCase } from './cutover-case.ts'
import type { CutoverProcess } from './cutover-process.ts'
import { insideOf, STEPS, type Moment, type StepStatement } from './step-watch.ts'

/**
 * Every step of a cutover, killed: the host, or one of the servers. PGFLEX_CUTOVER_STEPS=all is the long form, of
 * many minutes: every moment of every step, and both servers. The names of some steps, between commas, are a part of it.
 */
const CHOSEN = process.env['PGFLEX_CUTOVER_STEPS']
const ALL = CHOSEN !== undefined

let pair: ServerPair
/** The steps of a cutover as a run has them: a new one is killed like the others. */
let every: string[]
let steps: string[]
let undisturbed: string[]
let inside: Map<string, ReturnType<typeof insideOf>>

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await using whole = await prepareCase(pair, 'whole')
  await whole.ask()
  const process_ = whole.start()
  await whole.expectCutOver()
  undisturbed = process_.log
  every = [...whole.watch.statements.keys()]
  steps = every.filter((step) => CHOSEN === undefined || CHOSEN === 'all' || CHOSEN.split(',').includes(step))
  inside = new Map([...whole.watch.statements].map(([step, statements]) => [step, insideOf(step, statements)]))
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('a cutover that nothing disturbs has these steps, and succeeds at once', () => {
  expect(undisturbed).toEqual(['cutover: finished'])
  // All of them are killed below.
  expect(every).toEqual(STEPS)
})

/** A moment of each step, and the statement where it is one in the middle. */
interface Point {
  moment: Moment
  half?: 'first' | 'last'
}

const POINTS: Record<string, Point> = {
  'after its first write': { moment: 'in', half: 'first' },
  'after its last write': { moment: 'in', half: 'last' },
  'before it is recorded': { moment: 'unrecorded' },
  'when it has been recorded': { moment: 'recorded' },
}

/** Waits until the cutover stands at this step. */
async function reach(database: CutoverCase, step: string, { moment, half }: Point, run: () => void): Promise<void> {
  const at: StepStatement | undefined = half && inside.get(step)?.[half]
  const reached = database.watch.stopAt(step, moment, at)
  run()
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`It does not come to "${step}".`)), 60_000).unref()
  })
  await Promise.race([reached, late])
}

/** The moments in turn: each step is killed once, and another attempt is not begun for it. */
const IN_TURN = 'at one of these moments'
const hostKills = ALL ? Object.keys(POINTS) : [IN_TURN]

test.each(hostKills)(
  'a host that is killed in each step %s goes on, and the writes are on the target once',
  async (when) => {
    const points = when === IN_TURN ? Object.values(POINTS) : [POINTS[when]!]
    await using database = await prepareCase(pair, `host_${hostKills.indexOf(when)}`)
    await database.ask()
    const log: string[] = []
    let host: CutoverProcess | undefined
    for (const [number, step] of steps.entries()) {
      await reach(database, step, points[number % points.length]!, () => {
        host = database.start()
      })
      await host!.kill()
      log.push(...host!.log)
      database.release()
    }
    host = database.start()
    await database.expectCutOver()
    // Nothing but a predecessor that its server has not yet missed.
    expect([...log, ...host.log].filter((line) => !/Another copy/.test(line))).toEqual(['cutover: finished'])
  },
  300_000,
)

const SERVERS = ALL ? (['source', 'target'] as const) : []
const serverCrashes = SERVERS.flatMap((side) => Object.keys(POINTS).map((when) => [side, when] as const))

test.each(serverCrashes)(
  'a %s that crashes in each step %s: the cutover goes on or is called off, and the writes are on the target once',
  async (side, when) => {
    let left = steps
    for (let part = 0; left.length > 0; part++) {
      await using database = await prepareCase(pair, `${side}_${Object.keys(POINTS).indexOf(when)}_${part}`)
      left = await crashInTurn(database, side, when, left)
      await database.expectCutOver({ sourceCrashed: side === 'source' })
    }
    expect(left).toEqual([])
  },
  600_000,
)

/** @returns the steps that are left when one has gone on in spite of the crash */
async function crashInTurn(
  database: CutoverCase,
  side: 'source' | 'target',
  when: string,
  todo: string[],
): Promise<string[]> {
  let host: CutoverProcess | undefined
  for (const [number, step] of todo.entries()) {
    await reach(database, step, POINTS[when]!, () => {
      void database.ask()
      host ??= database.start()
    })
    const told = host!.log.length
    await pair[side].kill()
    database.release()
    // Until the last of its processes is gone: it still holds the shared memory.
    await vi.waitFor(() => pair[side].start(), { timeout: 20_000, interval: 100 })
    const cutovers = (): string[] => host!.log.slice(told).filter((line) => /^cutover: (slice|finished)$/.test(line))
    await vi.waitFor(() => expect(cutovers().length).toBeGreaterThan(0), { timeout: 60_000, interval: 20 })
    process.stderr.write(`${side} crashed ${when}, ${step}: ${cutovers().join()}\n`)
    if (cutovers().includes('cutover: finished')) return todo.slice(number + 1)
    // The last one only goes forwards.
    expect(step).not.toBe(every.at(-1))
    await database.expectCalledOff(/called off/)
  }
  await database.ask()
  return []
}

const frozen = ALL ? Object.keys(POINTS) : []

test.each(frozen)(
  'a copy that stands still in each step %s changes nothing when it wakes up after another one has cut over',
  async (when) => {
    const index = Object.keys(POINTS).indexOf(when)
    for (const [number, step] of steps.entries()) {
      await using database = await prepareCase(pair, `frozen_${index}_${number}`)
      await database.ask()
      let copy: CutoverProcess | undefined
      await reach(database, step, POINTS[when]!, () => {
        copy = database.start()
      })
      copy!.child.kill('SIGSTOP')
      // As if the time of its leases had passed.
      await database.onTarget(`update pgflex.lease set expires_at = now() - interval '1 s'`)
      const other = database.start()
      await database.expectCutOver()
      database.release()
      copy!.child.kill('SIGCONT')
      await vi.waitFor(() => expect(copy!.log.length).toBeGreaterThan(0), { timeout: 30_000, interval: 20 })
      await copy!.kill()
      process.stderr.write(
        `frozen ${when}, ${step}: ${copy!.log.join(' | ').slice(0, 200)} / ${other.log.join(' | ').slice(0, 300)}\n`,
      )
      await database.expectStillCutOver()
    }
  },
  600_000,
)
