import type { OrchestrationContext, Task } from 'durable-functions'

/** A task as the generators see it. */
interface FakeTask {
  kind: 'activity' | 'timer' | 'event' | 'child' | 'all' | 'any'
  name?: string
  input?: unknown
  tasks?: FakeTask[]
  isCompleted: boolean
  result?: unknown
  failed?: boolean
  isCanceled?: boolean
  cancel?: () => void
}

/** What the world answers: activities and children by name, in order of their calls; events arrive when a test says so. */
export interface World {
  activity(name: string, input: unknown): unknown
  child?(name: string, input: unknown): unknown
  /** Called when the generator races events: the name of the one that has arrived and its data, if any. */
  event?(names: string[]): { name: string; data: unknown } | undefined
}

export interface Played {
  output: unknown
  /** Names of activities, children and timers in the order in which they were waited for. */
  calls: string[]
  continuedAs?: unknown
}

/**
 * Plays an orchestration against a world, without a host: every task completes at once, timers last of a race.
 * It stands in for the host in tests of the orchestrations' decisions only.
 */
export function play(
  orchestration: (context: OrchestrationContext) => Generator<Task, unknown, unknown>,
  input: unknown,
  world: World,
): Played {
  const played: Played = { output: undefined, calls: [] }
  const task = (kind: FakeTask['kind'], fields: Partial<FakeTask> = {}): FakeTask => ({
    kind,
    isCompleted: false,
    ...fields,
  })
  const df = {
    instanceId: 'instance',
    currentUtcDateTime: new Date(0),
    getInput: () => input,
    setCustomStatus: () => {},
    continueAsNew: (next: unknown) => {
      played.continuedAs = next
    },
    callActivity: (name: string, activityInput: unknown) => task('activity', { name, input: activityInput }),
    callSubOrchestrator: (name: string, childInput: unknown) => task('child', { name, input: childInput }),
    waitForExternalEvent: (name: string) => task('event', { name }),
    createTimer: () => {
      const timer = task('timer')
      timer.cancel = () => {
        timer.isCanceled = true
      }
      return timer
    },
    Task: {
      all: (tasks: FakeTask[]) => task('all', { tasks }),
      any: (tasks: FakeTask[]) => task('any', { tasks }),
    },
  }

  function complete(waited: FakeTask): void {
    if (waited.isCompleted) return
    try {
      waited.result = resultOf(waited)
    } catch (error) {
      waited.failed = true
      waited.result = error
    }
    waited.isCompleted = true
  }

  function resultOf(waited: FakeTask): unknown {
    switch (waited.kind) {
      case 'activity':
        played.calls.push(waited.name!)
        return world.activity(waited.name!, waited.input)
      case 'child':
        played.calls.push(waited.name!)
        return world.child?.(waited.name!, waited.input)
      case 'timer':
        played.calls.push('timer')
        return undefined
      case 'event':
        throw new Error(`The orchestration waits for ${waited.name} alone, which may never come.`)
      case 'all':
        for (const child of waited.tasks!) complete(child)
        return waited.tasks!.map(({ result }) => result)
      case 'any':
        return race(waited.tasks!)
    }
  }

  function race(tasks: FakeTask[]): FakeTask {
    const waiting = tasks.filter(({ kind }) => kind === 'event')
    const arrived = world.event?.(waiting.map(({ name }) => name!))
    const winner = waiting.find(({ name }) => name === arrived?.name) ?? tasks.find(({ kind }) => kind !== 'event')!
    if (winner.kind === 'event') {
      winner.isCompleted = true
      winner.result = arrived!.data
    } else complete(winner)
    return winner
  }

  const generator = orchestration({ df } as unknown as OrchestrationContext)
  let step = generator.next()
  for (let steps = 0; !step.done; steps++) {
    if (steps > 10_000) throw new Error(`The orchestration does not end: ${played.calls.slice(-20).join(', ')}`)
    const waited = step.value as unknown as FakeTask
    complete(waited)
    step = waited.failed ? generator.throw(waited.result) : generator.next(waited.result)
  }
  played.output = step.value
  return played
}
