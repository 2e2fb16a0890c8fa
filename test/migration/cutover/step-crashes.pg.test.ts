import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { prepareCase, type CutoverCase } from './cutover-case.ts'
import type { CutoverProcess } from './cutover-process.ts'
import { insideOf, type Moment, type StepStatement } from './step-watch.ts'

/**
 * Every step of a cutover, killed: the host, or one of the servers. PGFLEX_CUTOVER_STEPS=all is the long form, of
 * some minutes: every moment of every step, and both servers.
 */
const ALL = process.env['PGFLEX_CUTOVER_STEPS'] === 'all'

let pair: ServerPair
/** The steps of a cutover as a run has them: a new one is killed like the others. */
let steps: string[]
let inside: Map<string, ReturnType<typeof insideOf>>

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await using whole = await prepareCase(pair, 'whole')
  await whole.ask()
  const process_ = whole.start()
  await whole.expectCutOver()
  expect(process_.log).toEqual(['cutover: finished'])
  steps = [...whole.watch.statements.keys()]
  inside = new Map([...whole.watch.statements].map(([step, statements]) => [step, insideOf(statements)]))
  expect(steps.length).toBeGreaterThan(9)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
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
  const at: StepStatement | undefined = half && inside.get(step)![half]
  const reached = database.watch.stopAt(step, moment, at)
  run()
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`It does not come to "${step}".`)), 60_000).unref()
  })
  await Promise.race([reached, late])
}

const hostKills = ALL ? Object.keys(POINTS) : ['after its first write', 'before it is recorded']

test.each(hostKills)(
  'a host that is killed in each step %s goes on, and the writes are on the target once',
  async (when) => {
    const name = `host_${Object.keys(POINTS).indexOf(when)}`
    await using database = await prepareCase(pair, name)
    await database.ask()
    const log: string[] = []
    let host: CutoverProcess | undefined
    for (const step of steps) {
      await reach(database, step, POINTS[when]!, () => {
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
  180_000,
)

const SERVERS = ALL ? (['source', 'target'] as const) : []
const serverCrashes = SERVERS.flatMap((side) => Object.keys(POINTS).map((when) => [side, when] as const))

test.each(serverCrashes)(
  'a %s that crashes in each step %s: the cutover goes on or is called off, and the writes are on the target once',
  async (side, when) => {
    await using database = await prepareCase(pair, `${side}_${Object.keys(POINTS).indexOf(when)}`)
    let host: CutoverProcess | undefined
    for (const step of steps) {
      await reach(database, step, POINTS[when]!, () => {
        void database.ask()
        host ??= database.start()
      })
      const told = host!.log.length
      await pair[side].kill()
      database.release()
      await pair[side].start()
      await vi.waitFor(
        () => expect(host!.log.slice(told)).toContainEqual(expect.stringMatching(/^cutover: (slice|finished)/)),
        {
          timeout: 60_000,
          interval: 20,
        },
      )
      process.stderr.write(`${side} ${when}, ${step}: ${host!.log.slice(told).join(' | ')}\n`)
      if (host!.log.includes('cutover: finished')) {
        expect(step).toBe(steps.at(-1))
        break
      }
      await database.expectCalledOff(/called off/)
    }
    await database.expectCutOver()
  },
  240_000,
)
