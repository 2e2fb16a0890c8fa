import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Migration } from '../../migration/model/migration-resource.ts'
import type { DatabaseStatus } from '../../migration/model/status.ts'
import { toResource } from '../../migration/model/wire.ts'
import { database, record, server, waiting } from '../migration/model/example.ts'
import { fakeDocument, type FakeElement } from './fake-document.ts'

const WEB = join(import.meta.dirname, '..', '..', 'web')

interface Sent {
  method: string
  url: string
  key: string
  body: unknown
}

let sent: Sent[]
let answer: (request: Sent) => { status: number; body: unknown }
let document: ReturnType<typeof fakeDocument>
let replaced: string[]
const at = (id: string): FakeElement => document.getElementById(id)

const list = (
  databases: DatabaseStatus[],
  change: Partial<Migration> = {},
): { status: number; body: { value: Migration[] } } => ({
  status: 200,
  body: { value: [{ ...toResource(record(), server(), databases), ...change }] },
})

beforeEach(() => {
  vi.resetModules()
  vi.useFakeTimers()
  sent = []
  replaced = []
  document = fakeDocument()
  const storage = new Map<string, string>()
  vi.stubGlobal('document', document)
  vi.stubGlobal('addEventListener', () => {})
  vi.stubGlobal('history', { replaceState: (_state: unknown, _title: string, url: string) => replaced.push(url) })
  vi.stubGlobal('sessionStorage', {
    getItem: (name: string) => storage.get(name) ?? null,
    setItem: (name: string, value: string) => storage.set(name, value),
  })
  vi.stubGlobal('fetch', (url: string, { method = 'GET', headers, body }: RequestInit) => {
    const request = {
      method,
      url,
      key: (headers as Record<string, string>)['x-functions-key']!,
      body: typeof body === 'string' ? (JSON.parse(body) as unknown) : undefined,
    }
    sent.push(request)
    const { status, body: value } = answer(request)
    return Promise.resolve(Response.json(value, { status }))
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

async function open(hash: string, search = ''): Promise<void> {
  vi.stubGlobal('location', { pathname: '/', search, hash })
  await import('../../web/page.ts')
  await vi.advanceTimersByTimeAsync(1)
}

it('takes the key out of the address bar and sends it with every request', async () => {
  answer = () => list([waiting('a'), waiting('b')])
  await open('#key=abc')
  expect(replaced).toEqual(['/'])
  expect(sent).toMatchObject([
    { key: 'abc', url: expect.stringMatching(/^\/subscriptions\/.*migrationListFilter=All&api-version=/) },
  ])
  await vi.advanceTimersByTimeAsync(2_000)
  expect(sent).toHaveLength(2)
})

it('shows the migrations, and the databases of the newest', async () => {
  answer = () =>
    list([waiting('a', { latencySeconds: 1.5 }), database('b', { phase: 'CopyingData', message: '<b>x</b>' })])
  await open('#key=abc')
  expect(at('migrations').texts().slice(0, 4)).toEqual(['orders', 'Online', 'InProgress', 'MigratingData'])
  expect(at('state').textContent).toBe('InProgress – MigratingData')
  expect(at('databases').texts()).toEqual(
    expect.arrayContaining(['WaitingForCutoverTrigger', '1.5 s', '–', '<b>x</b>']),
  )
  expect(at('cancel').disabled).toBe(false)
})

it('enables the cutover when the server allows it, asks, and sends it once', async () => {
  answer = ({ method }) =>
    method === 'PATCH' ? { status: 200, body: toResource(record(), server(), []) } : list([waiting('a'), waiting('b')])
  await open('#key=abc')
  expect(at('cutover').disabled).toBe(false)
  at('cutover').click()
  expect(at('confirm').open).toBe(true)
  at('confirm').close('no')
  await vi.advanceTimersByTimeAsync(1)
  expect(sent.some(({ method }) => method === 'PATCH')).toBe(false)
  at('cutover').click()
  at('confirm').close('yes')
  await vi.advanceTimersByTimeAsync(1)
  expect(sent.filter(({ method }) => method === 'PATCH')).toMatchObject([
    { body: { properties: { triggerCutover: 'True' } } },
  ])
})

it('says why a cutover is not possible, or was refused', async () => {
  answer = () => list([waiting('a', { latencySeconds: 99 }), waiting('b')])
  await open('#key=abc')
  expect(at('cutover')).toMatchObject({ disabled: false })
  answer = () => list([waiting('a', { latencySeconds: 99 }), waiting('b', { latencySeconds: 31 })])
  await vi.advanceTimersByTimeAsync(2_000)
  expect(at('cutover')).toMatchObject({ disabled: true, title: 'The latency is above 30 s.' })
  answer = ({ method }) =>
    method === 'PATCH'
      ? { status: 409, body: { error: { code: 'X', message: 'Not now.' } } }
      : list([waiting('a'), waiting('b')])
  await vi.advanceTimersByTimeAsync(2_000)
  at('cancel').click()
  at('confirm').close('yes')
  await vi.advanceTimersByTimeAsync(2_000)
  expect(at('refused')).toMatchObject({ textContent: 'Not now.', hidden: false })
})

it('asks for the key when it has none, and sends it to no other server', async () => {
  answer = () => ({ status: 401, body: { error: { code: 'Unauthorized', message: 'No.' } } })
  await open('', '?server=https://elsewhere.example.com/')
  expect(at('sign-in').hidden).toBe(false)
  expect(at('problem').textContent).toBe('The key is missing or wrong.')
  expect(sent.every(({ url }) => url.startsWith('/subscriptions/'))).toBe(true)
})

it('has nothing inline and writes no markup, as its Content-Security-Policy demands', () => {
  const html = readFileSync(join(WEB, 'index.html'), 'utf8')
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?:\/\//)
  expect(readFileSync(join(WEB, 'page.ts'), 'utf8')).not.toMatch(
    /\.innerHTML|insertAdjacentHTML|document\.write|\beval\b/,
  )
  const ids = new Set([...html.matchAll(/\bid="([\w-]+)"/g)].map(([, id]) => id))
  const used = [...readFileSync(join(WEB, 'page.ts'), 'utf8').matchAll(/\belement(?:<\w+>)?\('([\w-]+)'\)/g)].map(
    ([, id]) => id,
  )
  expect(used.filter((id) => !ids.has(id))).toEqual([])
  expect(used.length).toBeGreaterThan(10)
})
