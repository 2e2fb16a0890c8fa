import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { marked, sampleHome, startSample, until, type SampleHost, type Status } from './sample-host.ts'

// These tests start processes; a busy machine takes its time over that.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const home = sampleHome()
let host: SampleHost

beforeAll(async () => {
  host = await startSample(home)
})
afterAll(async () => {
  await host.kill()
  home[Symbol.dispose]()
})

const running = (id: string) =>
  until(
    () => host.status(id),
    ({ runtimeStatus }) => runtimeStatus === 'Running',
  )

test('DurableClient starts, reads, signals and purges instances through its binding', async () => {
  const { result: id } = await host.client('startNew', 'oneEvent', { instanceId: 'by-client', input: { n: 1 } })
  expect(id).toBe('by-client')
  await running('by-client')
  expect((await host.client('getStatus', 'by-client', { showInput: true })).result).toMatchObject({
    name: 'oneEvent',
    instanceId: 'by-client',
    runtimeStatus: 'Running',
    input: { n: 1 },
    output: null,
  })
  expect(await host.client('raiseEvent', 'by-client', 'Go', { n: 2 })).toEqual({ result: null })
  expect((await host.ended('by-client')).output).toEqual({ value: { n: 2 } })
  expect(await host.client('purgeInstanceHistory', 'by-client')).toEqual({ result: { instancesDeleted: 1 } })
  expect(await host.client('purgeInstanceHistory', 'by-client')).toEqual({ result: { instancesDeleted: 0 } })
  expect((await host.client('getStatus', 'by-client')).error).toContain('HTTP 404')
})

test('createCheckStatusResponse names URLs that work', async () => {
  const response = await host.request('/start/sequence', { method: 'POST', body: JSON.stringify({ texts: ['check'] }) })
  expect(response.status).toBe(202)
  const { id, statusQueryGetUri } = (await response.json()) as { id: string; statusQueryGetUri: string }
  expect(response.headers.get('location')).toBe(statusQueryGetUri)
  await host.ended(id)
  const status = await fetch(statusQueryGetUri)
  expect([status.status, ((await status.json()) as Status).output]).toEqual([200, ['check']])
})

test('a start with an id that is taken by a live instance is refused, by a finished one it replaces it', async () => {
  await host.start('oneEvent', {}, 'fixed')
  const again = await host.manage('POST', 'orchestrators/oneEvent/fixed', {})
  expect(again.status).toBe(409)
  expect((await host.client('startNew', 'oneEvent', { instanceId: 'fixed' })).error).toContain('409')
  await host.raise('fixed', 'Go', 'first')
  await host.ended('fixed')
  await host.start('sequence', { texts: [] }, 'fixed')
  expect(await host.ended('fixed')).toMatchObject({ name: 'sequence', output: [] })
})

test('a start of something that is no orchestrator, with a bad id or a bad body is answered with 400', async () => {
  const start = (path: string, body = '{}') =>
    host
      .request(`/runtime/webhooks/durabletask/orchestrators/${path}`, { method: 'POST', body })
      .then(({ status }) => status)
  expect(await start('noSuchThing')).toBe(400)
  expect(await start('mark')).toBe(400)
  expect(await start('sequence/@entity')).toBe(400)
  expect(await start(`sequence/${encodeURIComponent('a/b')}`)).toBe(400)
  expect(await start('sequence', '{"texts": [')).toBe(400)
})

test('a start may wait for the end', async () => {
  const response = await host.manage('POST', 'orchestrators/sequence?timeout=10', { texts: ['waited'] })
  expect([response.status, await response.json()]).toEqual([200, ['waited']])
  const slow = await host.manage('POST', 'orchestrators/oneEvent?timeout=0.01', {})
  expect(slow.status).toBe(202)
})

test('terminate ends an instance at once, with the reason as output; its activity cannot bring it back', async () => {
  const id = await host.start('gated', { gate: 'terminated' })
  await marked(home, `gate terminated of ${id}`)
  expect(await host.client('terminate', id, 'no longer needed')).toEqual({ result: null })
  expect(await host.ended(id)).toMatchObject({ runtimeStatus: 'Terminated', output: 'no longer needed' })
  home.open('terminated')
  await marked(home, 'passed terminated')
  expect((await host.status(id)).runtimeStatus).toBe('Terminated')
  expect(home.marks()).not.toContain('after terminated')
  expect((await host.manage('POST', `instances/${id}/terminate`)).status).toBe(410)
})

test('a suspended instance withholds events and results until it is resumed', async () => {
  const id = await host.start('bufferedEvents')
  await marked(home, `gate buffer of ${id}`)
  expect(await host.client('suspend', id, 'wait')).toEqual({ result: null })
  await until(
    () => host.status(id),
    ({ runtimeStatus }) => runtimeStatus === 'Suspended',
  )
  for (const n of [1, 2, 3]) await host.raise(id, 'Go', n)
  home.open('buffer')
  await marked(home, 'passed buffer')
  // A round trip through another instance: the host has had time to do what it must not do.
  await host.run('sequence', { texts: ['meanwhile'] })
  expect((await host.status(id)).runtimeStatus).toBe('Suspended')
  await host.client('resume', id, 'go on')
  expect((await host.ended(id)).output).toEqual([1, 2, 3])
})

test('a suspended instance can be terminated', async () => {
  const id = await host.start('oneEvent')
  await host.manage('POST', `instances/${id}/suspend?reason=wait`)
  await host.manage('POST', `instances/${id}/terminate?reason=over`)
  expect(await host.ended(id)).toMatchObject({ runtimeStatus: 'Terminated', output: 'over' })
})

test('instances are listed by creation time, in pages, with filters', async () => {
  const ids = await Promise.all([1, 2, 3, 4, 5].map((n) => host.start('sequence', { texts: [] }, `list-${n}`)))
  for (const id of ids) await host.ended(id)
  await host.start('oneEvent', {}, 'list-open')

  const pages: string[][] = []
  let token: string | undefined
  do {
    const response = await host.request('/runtime/webhooks/durabletask/instances?instanceIdPrefix=list-&top=4', {
      headers: token === undefined ? {} : { 'x-ms-continuation-token': token },
    })
    pages.push(((await response.json()) as Status[]).map(({ instanceId }) => instanceId))
    token = response.headers.get('x-ms-continuation-token') ?? undefined
  } while (token !== undefined)
  expect(pages.map(({ length }) => length)).toEqual([4, 2])
  expect(pages.flat().toSorted()).toEqual([...ids, 'list-open'].toSorted())

  const open = await host.client('getStatusBy', { runtimeStatus: ['Running', 'Pending'] })
  expect((open.result as Status[]).map(({ instanceId }) => instanceId)).toContain('list-open')
  expect((open.result as Status[]).map(({ instanceId }) => instanceId)).not.toContain('list-1')
  const none = await host.client('getStatusBy', { createdTimeFrom: '2100-01-01T00:00:00Z' })
  expect(none.result).toEqual([])
})

test('DurableClient collects every page of a long list', async () => {
  await Promise.all(Array.from({ length: 120 }, (_, n) => host.start('oneEvent', {}, `many-${n}`)))
  const { result } = await host.client('getStatusAll')
  const ids = (result as Status[]).map(({ instanceId }) => instanceId).filter((id) => id.startsWith('many-'))
  expect(new Set(ids).size).toBe(120)
})

test('purging by a filter takes ended instances and their history, and no live one', async () => {
  const since = new Date().toISOString()
  const ended = await host.run('sequence', { texts: ['purged'] })
  const live = await host.start('oneEvent')
  const filter = { createdTimeFrom: since, runtimeStatus: ['Completed', 'Running'] }
  expect(await host.client('purgeInstanceHistoryBy', filter)).toEqual({ result: { instancesDeleted: 1 } })
  expect((await host.manage('GET', `instances/${ended.instanceId}`)).status).toBe(404)
  expect((await host.manage('GET', `instances/${live}`)).status).toBe(202)
  expect((await host.manage('DELETE', `instances/${live}`)).status).toBe(404)
  expect((await host.manage('DELETE', 'instances')).status).toBe(400)
})

test('the history shows what happened, results only when asked for', async () => {
  const { instanceId } = await host.run('parent', { child: 'sequence', input: { texts: ['shown'] } })
  const history = async (query: string) => {
    const response = await host.manage('GET', `instances/${instanceId}?showHistory=true${query}`)
    return ((await response.json()) as { historyEvents: Record<string, unknown>[] }).historyEvents
  }
  expect(await history('')).toMatchObject([
    { EventType: 'ExecutionStarted', FunctionName: 'parent' },
    {
      EventType: 'SubOrchestrationInstanceCompleted',
      FunctionName: 'sequence',
      ScheduledTime: expect.any(String) as string,
    },
    { EventType: 'ExecutionCompleted', OrchestrationStatus: 'Completed' },
  ])
  expect((await history(''))[1]).not.toHaveProperty('Result')
  expect((await history('&showHistoryOutput=true'))[1]).toMatchObject({ Result: ['shown'] })
})

test('restart runs a finished orchestration again with its input', async () => {
  const { instanceId } = await host.run('sequence', { texts: ['again'] })
  const response = await host.manage('POST', `instances/${instanceId}/restart`)
  const { id } = (await response.json()) as { id: string }
  expect(id).not.toBe(instanceId)
  expect((await host.ended(id)).output).toEqual(['again'])
})

test('rewind and entities are refused', async () => {
  const { instanceId } = await host.run('failing', { message: 'x' })
  expect((await host.client('rewind', instanceId, 'why')).error).toContain('does not support rewind')
  expect((await host.manage('GET', 'entities/counter/one')).status).toBe(501)
})
