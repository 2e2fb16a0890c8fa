import type { AppFunctions } from './app-functions.ts'
import { UnsupportedActionError } from './assert-supported.ts'
import { commitStep, type Effects, type Step } from './commit-step.ts'
import { decideStep, failed, type StepDecision } from './decide-step.ts'
import { EventType, stamp, type HistoryEvent } from './history.ts'
import type { Log } from './log.ts'
import { runOrchestrator } from './run-orchestrator.ts'
import { errorMessage, errorStack } from './sanitize.ts'
import { isTerminal, type Instance, type Store } from './store.ts'
import { takeBatch } from './take-batch.ts'
import type { Invoke } from './worker.ts'

export interface StepContext {
  store: Store
  functions: AppFunctions
  invoke: Invoke
  log: Log
}

/**
 * Takes an instance one step further: reads its messages, runs its code over the history, and writes everything that
 * follows in one transaction. A host that dies at any point of this has either done the step or not begun it.
 *
 * An instance has one step at a time; messages that arrive meanwhile are for the next.
 */
export async function runStep(context: StepContext, instanceId: string): Promise<Effects | undefined> {
  const { store, log } = context
  const instance = store.instance(instanceId)
  if (!instance || isTerminal(instance.status)) {
    store.deleteInbox(instanceId)
    return undefined
  }

  const { messages, consumed, suspended, terminated } = takeBatch(store.inbox(instanceId), instance)
  if (messages.length === 0) {
    consumed.forEach((seq) => store.deleteMessage(seq))
    return undefined
  }

  const now = new Date()
  const past = store.history(instanceId)
  const episode: HistoryEvent[] = [{ ...stamp(now), EventType: EventType.OrchestratorStarted }, ...messages]
  const step = { instance, past: past.length, episode, consumed, suspended }

  let decision: Step['decision']
  if (terminated) {
    const { customStatus } = instance
    decision = { kind: 'end', status: 'Terminated', output: terminated.Input ?? 'null', customStatus }
  } else if (messages.every(isPause)) {
    decision = { kind: 'wait', starts: [], canceledTimers: [], customStatus: instance.customStatus }
  } else decision = await decideByCode(context, instance, past, episode, now)

  if (decision.kind === 'end')
    log[decision.status === 'Failed' ? 'warn' : 'debug']('orchestration ended', {
      instance: instanceId,
      name: instance.name,
      status: decision.status,
    })
  return commitStep(store, { ...step, decision }, new Date())
}

const isPause = ({ EventType: type }: HistoryEvent) =>
  type === EventType.ExecutionSuspended || type === EventType.ExecutionResumed

async function decideByCode(
  { functions, invoke, log }: StepContext,
  instance: Instance,
  past: HistoryEvent[],
  episode: HistoryEvent[],
  now: Date,
): Promise<StepDecision> {
  const orchestrator = functions.orchestrator(instance.name)
  if (!orchestrator)
    return failed(
      instance,
      `The function '${instance.name}' doesn't exist, is disabled, or is not an orchestrator function.`,
    )
  try {
    const state = await runOrchestrator(invoke, orchestrator, instance, past, episode)
    const history = [...past, ...episode]
    return decideStep({ instance, history, state, now, isKnown: functions.isKnown })
  } catch (error) {
    if (!(error instanceof UnsupportedActionError))
      log.error('orchestrator could not be run', { instance: instance.id, error: errorStack(error) })
    return failed(instance, errorMessage(error))
  }
}
