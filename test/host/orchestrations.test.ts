import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { marked, sampleHome, startSample, until, type SampleHost } from './sample-host.ts'

// These tests start processes; a busy machine takes its time over that.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

// One host for all tests of this file; each has its own instances, gates and marks.
const home = sampleHome()
let host: SampleHost

beforeAll(async () => {
  host = await startSample(home)
})
afterAll(async () => {
  await host.kill()
  home[Symbol.dispose]()
})

const count = (line: string) => home.marks().filter((mark) => mark === line).length

describe('activities', () => {
  test('run one after the other, each once, and hand over their results', async () => {
    const { runtimeStatus, output } = await host.run('sequence', { texts: ['s1', 's2', 's3'] })
    expect({ runtimeStatus, output }).toEqual({ runtimeStatus: 'Completed', output: ['s1', 's2', 's3'] })
    expect(home.marks().filter((mark) => /^s\d$/.test(mark))).toEqual(['s1', 's2', 's3'])
  })

  test('of Task.all run at the same time', async () => {
    const id = await host.start('fanOut', { gates: ['f1', 'f2', 'f3'] })
    for (const gate of ['f1', 'f2', 'f3']) await marked(home, `gate ${gate} of ${id}`)
    for (const gate of ['f3', 'f1', 'f2']) home.open(gate)
    expect((await host.ended(id)).output).toEqual(['f1', 'f2', 'f3'])
  })

  test('never run in greater number than host.json allows', async () => {
    const id = await host.start('fanOut', { gates: ['l1', 'l2', 'l3', 'l4', 'l5'] })
    for (const gate of ['l1', 'l2', 'l3', 'l4']) await marked(home, `gate ${gate} of ${id}`)
    // Orchestrations have places of their own: they go on while every place for activities is taken.
    const { output } = await host.run('sleep', { ms: 20 })
    expect(output).toEqual({ sleptMs: expect.any(Number) as number })
    expect(count(`gate l5 of ${id}`)).toBe(0)
    for (const gate of ['l1', 'l2', 'l3', 'l4', 'l5']) home.open(gate)
    expect((await host.ended(id)).runtimeStatus).toBe('Completed')
  })

  test('get and return the values that the real host would hand over', async () => {
    const { output } = await host.run('values')
    expect(output).toEqual([
      { type: 'object', value: { a: [1, null] } },
      { type: 'string', value: 'some text' },
      { type: 'number', value: 42 },
      { type: 'number', value: 1.5 },
      { type: 'string', value: 'True' },
      { type: 'undefined', value: 'nothing' },
      { type: 'undefined', value: 'nothing' },
      null,
      'plain text',
    ])
  })

  test('are tried again inside Task.all, each by its own count', async () => {
    const { output } = await host.run('retries', { failures: [0, 2, 1], attempts: 3 })
    expect(output).toEqual([1, 3, 2])
    expect(count('after the retries')).toBe(1)
  })

  test('that fail in every attempt fail the orchestration with their last error', async () => {
    const { runtimeStatus, output } = await host.run('flakyChild', { name: 'hopeless', failures: 99 })
    expect(runtimeStatus).toBe('Failed')
    expect(output).toMatch(
      /^Orchestrator function 'flakyChild' failed: Activity function 'flaky' failed: hopeless failed/,
    )
    const retried = await host.run('retries', { failures: [99], attempts: 2 })
    expect(retried.runtimeStatus).toBe('Failed')
  })

  test('that fail with a credential in their message do not spread it', async () => {
    const { output } = await host.run('failing', { message: 'no login at postgres://me:hunter2@db/x Password=hunter3' })
    expect(output).toContain('no login at postgres://[Hidden Credential]@db/x')
    expect(output).not.toMatch(/hunter/)
    expect(host.output()).not.toMatch(/hunter/)
  })
})

describe('timers', () => {
  test('fire when they are due, and the clock of the orchestration shows it', async () => {
    const { output } = await host.run('sleep', { ms: 60 })
    expect((output as { sleptMs: number }).sleptMs).toBeGreaterThanOrEqual(60)
  })

  test('win a race against an event that does not come', async () => {
    expect((await host.run('race', { ms: 10 })).output).toBe('timer')
  })

  test('that lose a race are canceled and hold nothing up', async () => {
    const id = await host.start('race', { ms: 3_600_000 })
    await host.raise(id, 'Go', {})
    expect((await host.ended(id)).output).toBe('event, after the race')
  })
})

describe('external events', () => {
  test('carry their data to the orchestration that waits for them', async () => {
    const id = await host.start('oneEvent')
    const { customStatus, runtimeStatus } = await until(
      () => host.status(id),
      (status) => status.customStatus !== null,
    )
    expect({ customStatus, runtimeStatus }).toEqual({ customStatus: { waiting: true }, runtimeStatus: 'Running' })
    await host.raise(id, 'Go', { databases: ['a'] })
    expect((await host.ended(id)).output).toEqual({ value: { databases: ['a'] } })
  })

  test('that come before they are awaited are kept, first in, first out', async () => {
    const id = await host.start('bufferedEvents')
    await marked(home, `gate buffer of ${id}`)
    for (const n of [1, 2, 3]) await host.raise(id, 'Go', { n })
    home.open('buffer')
    expect((await host.ended(id)).output).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  test('go to the latest of several waiters', async () => {
    const id = await host.start('twoWaiters')
    await host.raise(id, 'Go', { n: 1 })
    await host.raise(id, 'Go', { n: 2 })
    expect((await host.ended(id)).output).toEqual({ first: { n: 2 }, second: { n: 1 } })
  })

  test('for an instance that has ended are answered with 410, for an unknown one with 404', async () => {
    const { instanceId } = await host.run('sequence', { texts: [] })
    expect((await host.manage('POST', `instances/${instanceId}/raiseEvent/Go`, {})).status).toBe(410)
    expect((await host.manage('POST', 'instances/nobody/raiseEvent/Go', {})).status).toBe(404)
  })

  test('that arrive before a new generation begins are dropped, as by the real host', async () => {
    const id = await host.start('eventsAcrossGenerations', { generation: 1 })
    await marked(home, `gate generation of ${id}`)
    await host.raise(id, 'Go', { n: 'too early' })
    await until(
      () => host.manage('GET', `instances/${id}?showHistory=true`).then((response) => response.text()),
      (text) => text.includes('EventRaised'),
    )
    home.open('generation')
    await until(
      () => host.status(id),
      ({ input }) => (input as { generation: number }).generation === 2,
    )
    await host.raise(id, 'Go', { n: 'in time' })
    expect((await host.ended(id)).output).toEqual({ value: { n: 'in time' } })
  })
})

describe('sub-orchestrations', () => {
  test('return their result to the parent', async () => {
    const { output } = await host.run('parent', { child: 'sequence', input: { texts: ['child'] } })
    expect(output).toEqual({ result: ['child'] })
  })

  test('that fail throw in the parent', async () => {
    const { runtimeStatus, output } = await host.run('parent', { child: 'failing', input: { message: 'no luck' } })
    expect(runtimeStatus).toBe('Completed')
    expect((output as { failure: string }).failure).toContain("Orchestrator function 'failing' failed: ")
    expect((output as { failure: string }).failure).toContain('no luck')
  })

  test('that are terminated fail in the parent; the parent goes on', async () => {
    const id = await host.start('parent', { child: 'oneEvent', input: {}, id: 'terminated-child' })
    await until(
      () => host.manage('GET', 'instances/terminated-child'),
      ({ status }) => status === 202,
    )
    await host.manage('POST', 'instances/terminated-child/terminate?reason=enough')
    expect((await host.ended(id)).output).toEqual({ failure: expect.stringContaining('enough') as string })
  })

  test('are tried again under the same id', async () => {
    const { output } = await host.run('retriedChild')
    expect(output).toEqual({ name: 'child', tries: 3 })
  })

  test('fail when their id belongs to a live instance', async () => {
    await host.start('oneEvent', {}, 'taken')
    const { output } = await host.run('parent', { child: 'sequence', input: {}, id: 'taken' })
    expect((output as { failure: string }).failure).toContain("id 'taken' is running already")
  })

  test('cannot have the id of their parent', async () => {
    const { runtimeStatus, output } = await host.run('parent', { child: 'sequence', input: {}, id: 'me' }, 'me')
    expect({ runtimeStatus, output }).toEqual({
      runtimeStatus: 'Failed',
      output: expect.stringContaining('has the id of its own parent') as string,
    })
  })
})

describe('continueAsNew', () => {
  test('begins a new generation with new input, keeps the custom status and drops the old history', async () => {
    const { instanceId, output, customStatus } = await host.run('count', { from: 1, to: 4 })
    expect({ output, customStatus }).toEqual({ output: { counted: 4, status: 'done' }, customStatus: { from: 3 } })
    const response = await host.manage('GET', `instances/${instanceId}?showHistory=true`)
    const { historyEvents } = (await response.json()) as { historyEvents: { EventType: string }[] }
    expect(historyEvents.map(({ EventType }) => EventType)).toEqual(['ExecutionStarted', 'ExecutionCompleted'])
  })
})

describe('an orchestration whose code is through', () => {
  test('fails only when the siblings of the failed task have ended', async () => {
    const id = await host.start('openSibling')
    await marked(home, `gate sibling of ${id}`)
    const caught = await host.start('openSiblingCaught')
    await marked(home, `gate sibling of ${caught}`)
    expect(await host.status(id)).toMatchObject({ runtimeStatus: 'Running', output: null })
    expect(count('after the failure')).toBe(0)
    home.open('sibling')
    expect(await host.ended(id)).toMatchObject({
      runtimeStatus: 'Failed',
      output: expect.stringContaining('the first one failed') as string,
    })
    expect((await host.ended(caught)).output).toBe('caught')
  })

  test('completes only when the losers of Task.any have ended', async () => {
    const id = await host.start('loserStaysOpen')
    await marked(home, `gate loser of ${id}`)
    expect((await host.status(id)).runtimeStatus).toBe('Running')
    home.open('loser')
    expect((await host.ended(id)).output).toBe('won')
  })
})

describe('what the local host does not do fails the instance with a message', () => {
  test.for([
    ['callsEntity', 'does not support the action CallEntity. Keep the state in a database'],
    ['signalsEntity', 'does not support the action SignalEntity'],
    ['locks', 'does not support the action LockEntities'],
    ['callsHttp', 'does not support the action CallHttp. Make the request from an activity.'],
    ['retryTimeout', 'does not support the retry option retryTimeoutInMilliseconds'],
    ['unknownActivity', "The function 'noSuchActivity' doesn't exist, is disabled, or is not an activity function."],
    [
      'unknownChild',
      "The function 'noSuchOrchestrator' doesn't exist, is disabled, or is not an orchestrator function.",
    ],
    ['hugeStatus', 'the custom status is larger than 8192 characters'],
    ['impossibleTimer', 'A timer is to fire at no valid time'],
    ['yieldsNothing', 'programming constraint violation'],
  ] as const)('%s', async ([name, message]) => {
    expect(await host.run(name)).toMatchObject({
      runtimeStatus: 'Failed',
      output: expect.stringContaining(message) as string,
    })
  })

  test('a task inside a second Task.any, which the real host would start twice', async () => {
    const { runtimeStatus, output } = await host.run('taskTwice')
    expect(runtimeStatus).toBe('Failed')
    expect(output).toContain('A task (CallActivity of "gate") that an earlier Task.all or Task.any has started')
    home.open('twice')
  })
})

test('code that changes under a running instance fails it and names both sides', async () => {
  const id = await host.start('changing')
  await marked(home, `gate change of ${id}`)
  home.open('changed')
  home.open('change')
  const { runtimeStatus, output } = await host.ended(id)
  expect(runtimeStatus).toBe('Failed')
  expect(output).toContain('TaskScheduled 0 of "gate", but this replay asks for activity "mark"')
})
