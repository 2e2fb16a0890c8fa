import { activityArgument, activityCompleted, activityFailed } from './activity-payload.ts'
import type { AppFunctions } from './app-functions.ts'
import type { Log } from './log.ts'
import { errorStack } from './sanitize.ts'
import type { QueuedActivity, Store } from './store.ts'
import type { Invoke } from './worker.ts'

export interface ActivityRunnerOptions {
  store: Store
  functions: AppFunctions
  invoke: Invoke
  log: Log
  /** The name under which this run of the host takes leases. */
  owner: string
  limit: number
  /** For tests: activities of this name are executed twice at the same time, as the real host may do. */
  runTwice?: string
  /** Called when an instance has got an activity's result. */
  wake: (instanceId: string) => void
  /** Called when something happens that must not: the process is in an unknown state then. */
  crash: (error: unknown) => void
}

export interface ActivityRunner {
  /** Starts waiting activities as far as there is room. */
  dispatch(): void
  /** Takes no more work; resolves when nothing is running or the time is over, with the number still running. */
  drain(timeoutMs: number): Promise<number>
}

/**
 * Executes activities, each under a lease. An activity runs at least once: the lease of a host that has died is
 * dropped at the next start. Only the result of the current lease counts.
 */
export function createActivityRunner(options: ActivityRunnerOptions): ActivityRunner {
  const { store, functions, invoke, log, owner, limit, runTwice, wake, crash } = options
  const running = new Set<Promise<void>>()
  let draining = false
  let closed = false
  let scheduled = false

  function dispatch(): void {
    if (scheduled || draining) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      const free = limit - running.size
      if (draining || free <= 0) return
      for (const activity of store.leaseActivities(owner, free)) launch(activity)
    })
  }

  function launch(activity: QueuedActivity): void {
    const run = execute(activity)
      .catch(crash)
      .finally(() => {
        running.delete(run)
        dispatch()
      })
    running.add(run)
    if (runTwice?.toLowerCase() !== activity.name.toLowerCase() || activity.attempt > 1) return
    const again = store.seizeActivity(owner, activity.id)
    if (again) launch(again)
  }

  async function execute(activity: QueuedActivity): Promise<void> {
    const result = await invokeActivity(activity)
    if (closed) return
    const counted = store.transaction(() => {
      const current = store.finishActivity(owner, activity)
      if (current) store.send(activity.instanceId, result, activity.executionId)
      return current
    })
    const { name, instanceId: instance, attempt } = activity
    if (counted) wake(instance)
    else
      log.info('the result of an activity is dropped: its instance is gone, or its lease has been taken over', {
        name,
        instance,
        attempt,
      })
  }

  async function invokeActivity({ name, input, instanceId, taskId }: QueuedActivity) {
    try {
      const activity = functions.activity(name)
      if (!activity)
        throw new Error(`The function '${name}' doesn't exist, is disabled, or is not an activity function.`)
      const { returnValue } = await invoke(activity, {
        inputData: [{ name: activity.trigger.name, data: activityArgument(input) }],
        triggerMetadata: { InstanceId: { json: JSON.stringify(instanceId) } },
      })
      return activityCompleted(taskId, returnValue, new Date())
    } catch (error) {
      log.warn('activity failed', { name, instance: instanceId, error: errorStack(error) })
      return activityFailed(taskId, name, error, new Date())
    }
  }

  async function drain(timeoutMs: number): Promise<number> {
    draining = true
    const timeout = AbortSignal.timeout(timeoutMs)
    const timedOut = new Promise<void>((resolve) => timeout.addEventListener('abort', () => resolve()))
    while (running.size > 0 && !timeout.aborted) await Promise.race([Promise.all(running), timedOut])
    closed = true
    return running.size
  }

  return { dispatch, drain }
}
