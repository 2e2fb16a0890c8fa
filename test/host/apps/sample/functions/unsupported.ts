import * as df from 'durable-functions'
import { mark } from '../marks.ts'

const entity = () => new df.EntityId('counter', 'one')

df.app.orchestration('callsEntity', function* (context) {
  yield context.df.callEntity(entity(), 'add', 1)
})

df.app.orchestration('signalsEntity', function* (context) {
  context.df.signalEntity(entity(), 'add', 1)
  yield context.df.callActivity('mark', { text: 'after the signal' })
})

df.app.orchestration('locks', function* (context) {
  yield context.df.lock(entity())
})

df.app.orchestration('callsHttp', function* (context) {
  yield context.df.callHttp({ method: 'GET', url: 'http://127.0.0.1:9/' })
})

df.app.orchestration('retryTimeout', function* (context) {
  const options = Object.assign(new df.RetryOptions(1, 3), { retryTimeoutInMilliseconds: 1000 })
  yield context.df.callActivityWithRetry('fail', options, { message: 'no' })
})

df.app.orchestration('unknownActivity', function* (context) {
  yield context.df.callActivity('noSuchActivity', {})
})

df.app.orchestration('unknownChild', function* (context) {
  yield context.df.callSubOrchestrator('noSuchOrchestrator', {})
})

df.app.orchestration('taskTwice', function* (context) {
  const slow = context.df.callActivity('gate', { gate: 'twice' })
  yield context.df.Task.any([context.df.callActivity('mark', { text: 'one' }), slow])
  yield context.df.Task.any([context.df.callActivity('mark', { text: 'two' }), slow])
})

df.app.orchestration('hugeStatus', function* (context) {
  context.df.setCustomStatus('x'.repeat(10_000))
  yield context.df.callActivity('mark', { text: 'huge' })
})

df.app.orchestration('yieldsNothing', function* () {
  mark('yields nothing')
  yield undefined as never
})

df.app.orchestration('impossibleTimer', function* (context) {
  yield context.df.createTimer(new Date(Number.NaN))
})
