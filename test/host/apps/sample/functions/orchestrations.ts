import * as df from 'durable-functions'
import { crashOnce, isOpen } from '../marks.ts'

const retry = (maxNumberOfAttempts: number) => new df.RetryOptions(1, maxNumberOfAttempts)

df.app.orchestration('sequence', function* (context) {
  const { texts } = context.df.getInput() as { texts: string[] }
  const done: string[] = []
  for (const text of texts) {
    const { text: marked }: { text: string } = yield context.df.callActivity('mark', { text })
    done.push(marked)
  }
  return done
})

df.app.orchestration('gated', function* (context) {
  const input = context.df.getInput() as { gate: string; endsEarly?: boolean }
  const result: unknown = yield context.df.callActivity('gate', input)
  yield context.df.callActivity('mark', { text: `after ${input.gate}` })
  return result
})

df.app.orchestration('fanOut', function* (context) {
  const { gates } = context.df.getInput() as { gates: string[] }
  const results: { gate: string }[] = yield context.df.Task.all(
    gates.map((gate) => context.df.callActivity('gate', { gate })),
  )
  return results.map(({ gate }) => gate)
})

df.app.orchestration('sleep', function* (context) {
  const { ms } = context.df.getInput() as { ms: number }
  const start = context.df.currentUtcDateTime.valueOf()
  yield context.df.createTimer(new Date(start + ms))
  return { sleptMs: context.df.currentUtcDateTime.valueOf() - start }
})

df.app.orchestration('race', function* (context) {
  const { ms } = context.df.getInput() as { ms: number }
  const timer = context.df.createTimer(new Date(context.df.currentUtcDateTime.valueOf() + ms))
  const event = context.df.waitForExternalEvent('Go')
  const winner = (yield context.df.Task.any([event, timer])) as df.Task
  if (winner === timer) return 'timer'
  timer.cancel()
  const { text }: { text: string } = yield context.df.callActivity('mark', { text: 'after the race' })
  return `event, ${text}`
})

df.app.orchestration('oneEvent', function* (context) {
  context.df.setCustomStatus({ waiting: true })
  const value: unknown = yield context.df.waitForExternalEvent('Go')
  return { value }
})

/** Lets events arrive while nobody waits for them, then takes them one by one. */
df.app.orchestration('bufferedEvents', function* (context) {
  yield context.df.callActivity('gate', { gate: 'buffer' })
  const values: unknown[] = []
  for (let i = 0; i < 3; i++) values.push(yield context.df.waitForExternalEvent('Go'))
  return values
})

df.app.orchestration('twoWaiters', function* (context) {
  const first = context.df.waitForExternalEvent('Go')
  const second = context.df.waitForExternalEvent('Go')
  const values: unknown[] = yield context.df.Task.all([first, second])
  return { first: values[0], second: values[1] }
})

df.app.orchestration('parent', function* (context) {
  const { child, input, id } = context.df.getInput() as { child: string; input: unknown; id?: string }
  try {
    const result: unknown = yield context.df.callSubOrchestrator(child, input, id)
    return { result }
  } catch (error) {
    return { failure: (error as Error).message }
  }
})

df.app.orchestration('count', function* (context) {
  const { from, to, gate } = context.df.getInput() as { from: number; to: number; gate?: string }
  if (from === to) return { counted: to, status: 'done' }
  context.df.setCustomStatus({ from })
  yield context.df.callActivity('mark', { text: `count ${from}` })
  if (gate !== undefined && from === 1) yield context.df.callActivity('gate', { gate })
  context.df.continueAsNew({ from: from + 1, to, gate })
  return undefined
})

/** Waits for an event only in its second generation; what arrives before the first one ends is dropped. */
df.app.orchestration('eventsAcrossGenerations', function* (context) {
  const { generation } = context.df.getInput() as { generation: number }
  if (generation === 1) {
    yield context.df.callActivity('gate', { gate: 'generation' })
    context.df.continueAsNew({ generation: 2 })
    return undefined
  }
  const value: unknown = yield context.df.waitForExternalEvent('Go')
  return { value }
})

df.app.orchestration('retries', function* (context) {
  const { failures, attempts } = context.df.getInput() as { failures: number[]; attempts: number }
  const results: { name: string; tries: number }[] = yield context.df.Task.all(
    failures.map((count, index) =>
      context.df.callActivityWithRetry('flaky', retry(attempts), { name: `task ${index}`, failures: count }),
    ),
  )
  yield context.df.callActivity('mark', { text: 'after the retries' })
  return results.map(({ tries }) => tries)
})

df.app.orchestration('retriedChild', function* (context) {
  const result: unknown = yield context.df.callSubOrchestratorWithRetry(
    'flakyChild',
    retry(3),
    { name: 'child', failures: 2 },
    'retried-child',
  )
  return result
})

df.app.orchestration('flakyChild', function* (context) {
  const result: unknown = yield context.df.callActivity('flaky', context.df.getInput())
  return result
})

/** Its code is through as soon as one activity has failed; the other one is still open then. */
df.app.orchestration('openSibling', function* (context) {
  yield context.df.Task.all([
    context.df.callActivity('fail', { message: 'the first one failed' }),
    context.df.callActivity('gate', { gate: 'sibling' }),
  ])
})

/** Goes on after the failure: the next action has to wait for the open sibling as well. */
df.app.orchestration('openSiblingCaught', function* (context) {
  try {
    yield context.df.Task.all([
      context.df.callActivity('fail', { message: 'the first one failed' }),
      context.df.callActivity('gate', { gate: 'sibling' }),
    ])
  } catch {
    yield context.df.callActivity('mark', { text: 'after the failure' })
  }
  return 'caught'
})

df.app.orchestration('loserStaysOpen', function* (context) {
  const winner = context.df.callActivity('mark', { text: 'winner' })
  yield context.df.Task.any([winner, context.df.callActivity('gate', { gate: 'loser' })])
  return 'won'
})

df.app.orchestration('failing', function* (context) {
  const { message } = context.df.getInput() as { message: string }
  yield context.df.callActivity('fail', { message })
})

df.app.orchestration('values', function* (context) {
  const results: unknown[] = []
  for (const value of [{ a: [1, null] }, 'some text', 42, 1.5, true, null, undefined])
    results.push(yield context.df.callActivity('inspect', value))
  results.push(yield context.df.callActivity('nothing'))
  results.push(yield context.df.callActivity('text'))
  return results
})

/** Asks for something else once the test has opened the gate `changed`: its code has changed, so to say. */
df.app.orchestration('changing', function* (context) {
  if (isOpen('changed')) yield context.df.callActivity('mark', { text: 'new code' })
  else yield context.df.callActivity('gate', { gate: 'change' })
  return 'done'
})

df.app.orchestration('crashing', function* (context) {
  const { place } = context.df.getInput() as { place: string }
  if (place === 'before the first step') crashOnce(place)
  yield context.df.callActivity('mark', { text: 'first' })
  if (place === 'between two steps') crashOnce(place)
  yield context.df.callActivity('crashOnce', { place: `${place}, in an activity` })
  if (place === 'while completing') crashOnce(place)
  return { survived: place }
})

df.app.orchestration('storm', function* (context) {
  const { round, rounds } = context.df.getInput() as { round: number; rounds: number }
  const texts: { text: string }[] = yield context.df.Task.all(
    [1, 2, 3].map((n) =>
      context.df.callActivity('mark', { text: `${context.df.instanceId} round ${round} task ${n}` }),
    ),
  )
  yield context.df.createTimer(new Date(context.df.currentUtcDateTime.valueOf() + 5))
  const child: string[] = yield context.df.callSubOrchestrator('sequence', { texts: texts.map(({ text }) => text) })
  if (child.length !== 3) throw new Error('a child has lost something')
  if (round === rounds) return { rounds }
  context.df.continueAsNew({ round: round + 1, rounds })
  return undefined
})
