import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { marked, sampleHome, startSample, until, type SampleHome } from './sample-host.ts'

// These tests start processes; a busy machine takes its time over that.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const count = (home: SampleHome, line: string) => home.marks().filter((mark) => mark === line).length

test('an activity that was running at kill -9 runs again; finished ones do not', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('fanOut', { gates: ['done', 'half'] })
  home.open('done')
  await marked(home, 'passed done')
  await marked(home, `gate half of ${id}`)
  await until(() => storedEvents(home, id).includes('TaskCompleted'))
  await first.kill()

  await using second = await startSample(home)
  await until(() => count(home, `gate half of ${id}`) === 2)
  home.open('half')
  expect((await second.ended(id)).output).toEqual(['done', 'half'])
  expect(count(home, `gate done of ${id}`)).toBe(1)
  expect(second.key).toBe(first.key)
})

test.for(['before the first step', 'between two steps', 'while completing'])(
  'a host that dies %s goes on from the last finished step',
  async (place) => {
    using home = sampleHome()
    await using first = await startSample(home)
    const id = await first.start('crashing', { place })
    expect(await first.exited).toBeNull()
    // The activity of this orchestration ends its process once as well.
    await using second = await startSample(home)
    expect(await second.exited).toBeNull()
    await using third = await startSample(home)
    expect((await third.ended(id)).output).toEqual({ survived: place })
    expect(count(home, 'first')).toBe(1)
  },
)

test('a timer that falls due while no host runs fires at the next start', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('sleep', { ms: 200 })
  await until(() => storedEvents(home, id).includes('TimerCreated'))
  await first.kill()
  await wait(250)
  await using second = await startSample(home)
  expect((await second.ended(id)).output).toEqual({ sleptMs: expect.any(Number) as number })
})

test('a timer that is pending at kill -9 still fires', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('sleep', { ms: 1_500 })
  await until(() => storedEvents(home, id).includes('TimerCreated'))
  await first.kill()
  await using second = await startSample(home)
  const { sleptMs } = (await second.ended(id)).output as { sleptMs: number }
  expect(sleptMs).toBeGreaterThanOrEqual(1_500)
})

test('an event that was answered with 202 right before kill -9 arrives', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('oneEvent')
  await until(
    () => first.status(id),
    ({ customStatus }) => customStatus !== null,
  )
  await first.raise(id, 'Go', { kept: true })
  await first.kill()
  await using second = await startSample(home)
  expect((await second.ended(id)).output).toEqual({ value: { kept: true } })
})

test('a parent and its child both go on after kill -9', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('parent', { child: 'gated', input: { gate: 'child' }, id: 'the-child' })
  await marked(home, 'gate child of the-child')
  await first.kill()
  home.open('child')
  await using second = await startSample(home)
  expect((await second.ended(id)).output).toEqual({ result: { gate: 'child', endedEarly: false } })
})

test('a later generation goes on after kill -9; earlier ones are not repeated', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('count', { from: 0, to: 3, gate: 'generation' })
  await marked(home, `gate generation of ${id}`)
  await first.kill()
  home.open('generation')
  await using second = await startSample(home)
  expect((await second.ended(id)).output).toEqual({ counted: 3, status: 'done' })
  expect([0, 1, 2].map((n) => count(home, `count ${n}`))).toEqual([1, 1, 1])
})

test('an activity of a terminated instance does not run again', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('gated', { gate: 'orphan' })
  await marked(home, `gate orphan of ${id}`)
  await first.manage('POST', `instances/${id}/terminate?reason=x`)
  await first.ended(id)
  await first.kill()
  await using second = await startSample(home)
  expect((await second.run('sequence', { texts: ['later'] })).output).toEqual(['later'])
  expect(count(home, `gate orphan of ${id}`)).toBe(1)
  expect(leftovers(home)).toEqual({ inbox: 0, activities: 0, timers: 0 })
})

test('suspension and custom status survive a restart', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('oneEvent')
  await first.manage('POST', `instances/${id}/suspend?reason=x`)
  await until(
    () => first.status(id),
    ({ runtimeStatus }) => runtimeStatus === 'Suspended',
  )
  await first.kill()
  await using second = await startSample(home)
  expect(await second.status(id)).toMatchObject({ runtimeStatus: 'Suspended', customStatus: { waiting: true } })
  await second.raise(id, 'Go', 1)
  await second.manage('POST', `instances/${id}/resume?reason=x`)
  expect((await second.ended(id)).output).toEqual({ value: 1 })
})

test('orchestrations come to the right end however often and whenever the host is killed', async () => {
  using home = sampleHome()
  const ids = ['storm-a', 'storm-b', 'storm-c']
  const rounds = 6
  for (let kills = 0; kills < 6; kills++) {
    await using host = await startSample(home)
    if (kills === 0) for (const id of ids) await host.start('storm', { round: 1, rounds }, id)
    // Each time at another moment of the work: this wait is the point, nothing depends on its length.
    await wait(7 + kills * 23)
    await host.kill()
  }
  await using host = await startSample(home)
  for (const id of ids) {
    expect(await host.ended(id)).toMatchObject({ runtimeStatus: 'Completed', output: { rounds } })
    for (let round = 1; round <= rounds; round++)
      for (const task of [1, 2, 3]) {
        // Once as the parent's own activity, once through the child; at least once each.
        expect(count(home, `${id} round ${round} task ${task}`)).toBeGreaterThanOrEqual(2)
      }
  }
  expect(leftovers(home)).toEqual({ inbox: 0, activities: 0, timers: 0 })
})

test('of an activity that runs twice at the same time only the current lease counts', async () => {
  using home = sampleHome()
  await using host = await startSample(home, { env: { PGFLEX_TEST_RUN_TWICE: 'gate' } })
  const id = await host.start('gated', { gate: 'double' })
  await until(() => count(home, `gate double of ${id}`) === 2)
  home.open('double')
  expect((await host.ended(id)).runtimeStatus).toBe('Completed')
  await until(() => count(home, 'passed double') === 2)
  expect(count(home, 'after double')).toBe(1)
  expect(host.output()).toContain('its lease has been taken over')
})

/** The types of an instance's stored events, read past the running host. */
function storedEvents(home: SampleHome, id: string): string[] {
  const names: Record<number, string> = { 5: 'TaskCompleted', 10: 'TimerCreated' }
  return query<{ type: number }>(
    home,
    "select event ->> 'EventType' as type from history where instance_id = ? union all " +
      "select event ->> 'EventType' from inbox where instance_id = ?",
    id,
    id,
  ).map(({ type }) => names[type] ?? String(type))
}

const leftovers = (home: SampleHome) =>
  query(
    home,
    'select (select count(*) from inbox) inbox, (select count(*) from activities) activities, ' +
      '(select count(*) from timers) timers',
  )[0]

function query<T>(home: SampleHome, sql: string, ...values: string[]): T[] {
  const db = new DatabaseSync(join(home.path, 'host.db'), { readOnly: true })
  try {
    return db
      .prepare(sql)
      .all(...values)
      .map((row) => ({ ...row }) as T)
  } finally {
    db.close()
  }
}
