import { describe, expect, test } from 'vitest'
import { ActionType, type Action } from '../../host/actions.ts'
import { EventType, stamp, type HistoryEvent } from '../../host/history.ts'
import { NonDeterminismError, simulateActions } from '../../host/simulate-actions.ts'

const now = new Date('2030-01-01T00:00:00Z')
const at = stamp(now)
const later = (ms: number) => new Date(now.getTime() + ms).toISOString()

const activity = (functionName: string): Action => ({ actionType: ActionType.CallActivity, functionName })
const retried = (functionName: string, maxNumberOfAttempts: number, backoffCoefficient = 1): Action => ({
  actionType: ActionType.CallActivityWithRetry,
  functionName,
  retryOptions: { firstRetryIntervalInMilliseconds: 100, maxNumberOfAttempts, backoffCoefficient },
})
const child = (functionName: string): Action => ({ actionType: ActionType.CallSubOrchestrator, functionName })
const timer = (isCanceled = false): Action => ({ actionType: ActionType.CreateTimer, fireAt: later(1), isCanceled })
const event = (externalEventName: string): Action => ({
  actionType: ActionType.WaitForExternalEvent,
  externalEventName,
})
const all = (...compoundActions: Action[]): Action => ({ actionType: ActionType.WhenAll, compoundActions })
const any = (...compoundActions: Action[]): Action => ({ actionType: ActionType.WhenAny, compoundActions })
const continueAsNew = (input: unknown): Action => ({ actionType: ActionType.ContinueAsNew, input })

const scheduled = (EventId: number, Name: string): HistoryEvent => ({
  ...at,
  EventType: EventType.TaskScheduled,
  EventId,
  Name,
  Version: null,
  Input: '[null]',
})
const timerCreated = (EventId: number): HistoryEvent => ({
  ...at,
  EventType: EventType.TimerCreated,
  EventId,
  FireAt: later(1),
})
const completed = (TaskScheduledId: number): HistoryEvent => ({
  ...at,
  EventType: EventType.TaskCompleted,
  TaskScheduledId,
  Result: '1',
})
const failed = (TaskScheduledId: number): HistoryEvent => ({
  ...at,
  EventType: EventType.TaskFailed,
  TaskScheduledId,
  Reason: '',
  Details: '',
})
const fired = (TimerId: number): HistoryEvent => ({ ...at, EventType: EventType.TimerFired, TimerId, FireAt: later(1) })
const raised = (Name: string): HistoryEvent => ({ ...at, EventType: EventType.EventRaised, Name, Input: '{}' })

function simulate(actions: Action[], ...events: HistoryEvent[]) {
  const start: HistoryEvent[] = [
    { ...at, EventType: EventType.OrchestratorStarted },
    {
      ...at,
      EventType: EventType.ExecutionStarted,
      Name: 'orchestrator',
      Version: null,
      Input: null,
      ParentInstance: null,
      OrchestrationInstance: { InstanceId: 'i', ExecutionId: 'e' },
    },
  ]
  return simulateActions([...start, ...events], actions)
}

/** What is to be started: `0 greet`, `1 timer`. */
const starts = (actions: Action[], ...events: HistoryEvent[]) =>
  simulate(actions, ...events).toStart.map(({ id, kind, name }) => `${id} ${name || kind}`)
const settled = (actions: Action[], ...events: HistoryEvent[]) => simulate(actions, ...events).settled

describe('actions', () => {
  test('are started one after the other, each when the last one has ended', () => {
    const actions = [activity('a'), child('b'), timer()]
    expect(starts(actions)).toEqual(['0 a'])
    expect(starts(actions, scheduled(0, 'a'))).toEqual([])
    expect(starts(actions, scheduled(0, 'a'), completed(0))).toEqual(['1 b'])
    expect(starts(actions, scheduled(0, 'a'), failed(0))).toEqual(['1 b'])
  })

  test('of Task.all are started together; what follows waits for all of them, also after one has failed', () => {
    const actions = [all(activity('a'), activity('b')), activity('c')]
    const begun = [scheduled(0, 'a'), scheduled(1, 'b')]
    expect(starts(actions)).toEqual(['0 a', '1 b'])
    expect(starts(actions, ...begun, failed(0))).toEqual([])
    expect(starts(actions, ...begun, failed(0), completed(1))).toEqual(['2 c'])
  })

  test('after Task.any start with its first end; the loser still holds up the end', () => {
    const actions = [any(activity('a'), activity('b'))]
    const begun = [scheduled(0, 'a'), scheduled(1, 'b'), completed(1)]
    expect(settled(actions, ...begun)).toBe(false)
    expect(settled(actions, ...begun, completed(0))).toBe(true)
    expect(starts([...actions, activity('c')], ...begun)).toEqual(['2 c'])
  })

  test('may be nested', () => {
    const actions = [any(event('stop'), all(activity('a'), event('go'))), activity('b')]
    const begun = [scheduled(0, 'a'), completed(0)]
    expect(starts(actions, ...begun)).toEqual([])
    expect(starts(actions, ...begun, raised('go'))).toEqual(['1 b'])
    expect(starts(actions, scheduled(0, 'a'), raised('stop'))).toEqual(['1 b'])
  })
})

describe('a canceled timer', () => {
  const actions = [any(event('go'), timer(true)), activity('after')]

  test('keeps its number and holds nothing up', () => {
    const simulation = simulate(actions, timerCreated(0), raised('go'), scheduled(1, 'after'), completed(1))
    expect(simulation).toMatchObject({ settled: true, canceledTimers: [0], toStart: [] })
  })

  test('is not taken for the winner before the event that made the code cancel it', () => {
    // A retry that fails before the race is decided has to get the number after the timer's, not `after`.
    const race = [any(retried('a', 2), timer(true)), activity('after')]
    const begun = [scheduled(0, 'a'), timerCreated(1), failed(0), timerCreated(2), fired(2)]
    expect(starts(race, ...begun)).toEqual(['3 a'])
    expect(starts(race, ...begun, scheduled(3, 'a'), completed(3))).toEqual(['4 after'])
  })

  test('that fires all the same is ignored', () => {
    expect(settled(actions, timerCreated(0), raised('go'), scheduled(1, 'after'), fired(0), completed(1))).toBe(true)
  })
})

describe('a retry', () => {
  test('takes one number for the pause after each failure and one for each attempt', () => {
    const actions = [retried('a', 3)]
    const first = [scheduled(0, 'a'), failed(0)]
    expect(starts(actions, ...first)).toEqual(['1 timer'])
    const second = [...first, timerCreated(1), fired(1)]
    expect(starts(actions, ...second)).toEqual(['2 a'])
    expect(settled(actions, ...second, scheduled(2, 'a'), completed(2))).toBe(true)
  })

  test('has a pause after its last failure too, but no further attempt', () => {
    const actions = [retried('a', 1)]
    expect(starts(actions, scheduled(0, 'a'), failed(0))).toEqual(['1 timer'])
    expect(settled(actions, scheduled(0, 'a'), failed(0), timerCreated(1))).toBe(false)
    expect(settled(actions, scheduled(0, 'a'), failed(0), timerCreated(1), fired(1))).toBe(true)
  })

  test('waits longer each time, counted from the step in which the failure was seen', () => {
    const actions = [retried('a', 3, 10)]
    const second = [scheduled(0, 'a'), failed(0), timerCreated(1), fired(1), scheduled(2, 'a'), failed(2)]
    expect(simulate(actions, scheduled(0, 'a'), failed(0)).toStart[0]?.fireAt).toBe(later(100))
    expect(simulate(actions, ...second).toStart[0]?.fireAt).toBe(later(1000))
  })

  test('inside Task.all counts on in the order of the failures', () => {
    const actions = [all(retried('a', 2), retried('b', 2))]
    expect(starts(actions, scheduled(0, 'a'), scheduled(1, 'b'), failed(1), failed(0))).toEqual(['2 timer', '3 timer'])
    const pauses = [scheduled(0, 'a'), scheduled(1, 'b'), failed(1), failed(0), timerCreated(2), timerCreated(3)]
    expect(starts(actions, ...pauses, fired(3))).toEqual(['4 a'])
  })
})

describe('a retry whose Task.all has failed already', () => {
  const both = all(activity('a'), retried('b', 3))
  const begun = [scheduled(0, 'a'), scheduled(1, 'b'), failed(0), failed(1)]

  test('goes on as long as the code has not counted further', () => {
    expect(starts([both], ...begun)).toEqual(['2 timer'])
    expect(starts([both, event('go')], ...begun)).toEqual(['2 timer'])
  })

  test('is refused once the code has given its number to another task', () => {
    expect(() => simulate([both, activity('c')], ...begun)).toThrow('went on after a Task.all had failed')
  })

  test('may end when no number is taken any more', () => {
    const ended = [scheduled(0, 'a'), scheduled(1, 'b'), failed(0), completed(1)]
    expect(starts([both, activity('c')], ...ended)).toEqual(['2 c'])
  })
})

describe('external events', () => {
  test('without a waiter are kept for later ones, each for one', () => {
    const actions = [activity('a'), event('go'), event('go'), activity('b')]
    const begun = [scheduled(0, 'a'), raised('go'), completed(0)]
    expect(starts(actions, ...begun)).toEqual([])
    expect(starts(actions, ...begun, raised('other'), raised('go'))).toEqual(['1 b'])
  })

  test('take no number', () => {
    expect(starts([all(event('x'), activity('a'))])).toEqual(['0 a'])
  })

  test('after continueAsNew are carried over, earlier ones that nobody awaited are not', () => {
    const actions = [activity('a'), continueAsNew({ n: 2 })]
    const { continueAsNew: next, settled: over } = simulate(
      actions,
      scheduled(0, 'a'),
      raised('early'),
      completed(0),
      raised('late'),
    )
    expect(over).toBe(true)
    expect(next).toMatchObject({ input: { n: 2 }, carriedEvents: [{ Name: 'late' }] })
  })
})

describe('a history that does not fit', () => {
  test.for([
    ['another function', [activity('b')], scheduled(0, 'a'), '"a", but this replay asks for activity "b"'],
    ['another kind', [timer()], scheduled(0, 'a'), 'asks for timer'],
    ['nothing', [], scheduled(0, 'a'), 'asks for nothing'],
  ] as [string, Action[], HistoryEvent, string][])('to %s is an error', ([, actions, recorded, message]) => {
    expect(() => simulate(actions, recorded)).toThrow(NonDeterminismError)
    expect(() => simulate(actions, recorded)).toThrow(message)
  })

  test('only in the case of letters is none', () => {
    expect(settled([activity('Greet')], scheduled(0, 'greet'), completed(0))).toBe(true)
  })

  test('a second completion of the same task is ignored', () => {
    expect(starts([activity('a'), activity('b')], scheduled(0, 'a'), completed(0), completed(0))).toEqual(['1 b'])
  })
})
