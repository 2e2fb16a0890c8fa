import { EventType, stamp } from './history.ts'
import type { Store } from './store.ts'

/** The longest time that `setTimeout` can wait. */
const longestTimeoutMs = 2 ** 31 - 1

export interface Timers {
  /** Looks at the timers again; needed after one was added. */
  arm(): void
  stop(): void
}

/** Fires durable timers: one `setTimeout` to the earliest of them. Those that fell due while no host ran fire at once. */
export function createTimers(store: Store, wake: (instanceId: string) => void): Timers {
  let timeout: NodeJS.Timeout | undefined
  let stopped = false

  function arm(): void {
    clearTimeout(timeout)
    const next = stopped ? undefined : store.nextTimer()
    if (!next) return
    const delayMs = Math.max(0, Date.parse(next.fireAt) - Date.now())
    timeout = setTimeout(fire, Math.min(delayMs, longestTimeoutMs))
  }

  function fire(): void {
    const now = new Date()
    const due = store.dueTimers(now.toISOString())
    if (due.length > 0)
      store.transaction(() => {
        for (const { instanceId, executionId, taskId: TimerId, fireAt: FireAt } of due) {
          store.deleteTimer(instanceId, executionId, TimerId)
          store.send(instanceId, { ...stamp(now), EventType: EventType.TimerFired, TimerId, FireAt }, executionId)
        }
      })
    due.forEach(({ instanceId }) => wake(instanceId))
    arm()
  }

  return {
    arm,
    stop() {
      stopped = true
      clearTimeout(timeout)
    },
  }
}
