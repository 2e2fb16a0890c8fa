import { EventEmitter, once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { createActivityRunner } from './activity-runner.ts'
import type { AppFunctions } from './app-functions.ts'
import type { AppSettings } from './app-settings.ts'
import type { Message } from './history.ts'
import type { Log } from './log.ts'
import { runStep } from './orchestration-step.ts'
import { startInstance, type NewInstance } from './start-instance.ts'
import type { Store } from './store.ts'
import { createTimers } from './timers.ts'
import type { Invoke } from './worker.ts'

export interface EngineOptions {
  store: Store
  functions: AppFunctions
  settings: AppSettings
  invoke: Invoke
  log: Log
  /** For tests: see ActivityRunnerOptions. */
  runTwice?: string
  crash: (error: unknown) => void
}

export interface Engine {
  store: Store
  functions: AppFunctions
  /** Takes up everything that an earlier run of the host has left. */
  resume(): void
  /** False when a live instance has that id. */
  start(instance: NewInstance): boolean
  send(instanceId: string, message: Message): void
  /** Resolves when the instance has ended, or the time is over. */
  ended(instanceId: string, timeoutMs: number): Promise<void>
  /** Takes no more work; resolves with the number of activities that are running still. */
  drain(timeoutMs: number): Promise<number>
}

/** The name of an event; an instance may be called `error`, which an emitter takes for something else. */
const endOf = (instanceId: string) => `end of ${instanceId}`

/**
 * Runs orchestrations and activities. Nothing is polled: whoever writes a message or a task wakes the instance, the
 * activity runner or the timers in the same turn.
 */
export function createEngine({ store, functions, settings, invoke, log, runTwice, crash }: EngineOptions): Engine {
  const ready = new Set<string>()
  const stepping = new Map<string, Promise<void>>()
  const ends = new EventEmitter().setMaxListeners(0)
  let scheduled = false
  let draining = false

  const limit = settings.maxConcurrentActivities
  const activities = createActivityRunner({
    store,
    functions,
    invoke,
    log,
    limit,
    runTwice,
    wake,
    crash,
    owner: randomUUID(),
  })
  const timers = createTimers(store, wake)
  // Whoever holds a lease now is dead: there is one host for each home.
  store.dropLeases()
  store.deleteOrphanedActivities()

  function wake(instanceId: string): void {
    ready.add(instanceId)
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      stepReady()
    })
  }

  function stepReady(): void {
    for (const id of ready) {
      if (draining || stepping.size >= settings.maxConcurrentOrchestrators) return
      if (stepping.has(id)) continue
      ready.delete(id)
      stepping.set(id, step(id))
    }
  }

  async function step(id: string): Promise<void> {
    try {
      const effects = await runStep({ store, functions, invoke, log }, id)
      effects?.wake.forEach(wake)
      if (effects?.activities) activities.dispatch()
      if (effects?.timers) timers.arm()
      if (effects?.ended) ends.emit(endOf(id))
    } catch (error) {
      crash(error)
    } finally {
      stepping.delete(id)
      if (ready.size > 0) stepReady()
    }
  }

  return {
    store,
    functions,
    resume() {
      store.instancesWithMessages().forEach(wake)
      activities.dispatch()
      timers.arm()
    },
    start(instance) {
      const started = store.transaction(() => startInstance(store, instance, new Date()))
      if (started) wake(instance.id)
      return started
    },
    send(instanceId, message) {
      store.send(instanceId, message)
      wake(instanceId)
    },
    async ended(instanceId, timeoutMs) {
      await once(ends, endOf(instanceId), { signal: AbortSignal.timeout(timeoutMs) }).catch(() => {})
    },
    async drain(timeoutMs) {
      draining = true
      timers.stop()
      const [left] = await Promise.all([activities.drain(timeoutMs), ...stepping.values()])
      store.dropLeases()
      return left
    },
  }
}
