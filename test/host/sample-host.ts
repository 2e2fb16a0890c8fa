import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll } from 'vitest'
import { startHost, type RunningHost, type StartHostOptions } from '../../host/start-host.ts'

export const root = join(import.meta.dirname, '..', '..')

/** The host from its sources: no build is needed. */
export const hostFromSources: [string, string] = [process.execPath, join(root, 'host', 'main.ts')]

export interface SampleHome extends Disposable {
  path: string
  marks(): string[]
  /** Lets activities that wait at a gate go on. */
  open(gate: string): void
}

// A test that times out does not come to the end of its scope: what it has made is taken away here, then.
const started = new Set<RunningHost>()
const homes = new Set<string>()
afterAll(async () => {
  await Promise.all([...started].map((host) => host.kill()))
  for (const path of homes) rmSync(path, { recursive: true, force: true })
})

/** A fresh folder for a host, taken away at the end of its scope. */
export function sampleHome(): SampleHome {
  const path = mkdtempSync(join(tmpdir(), 'pgflex-host-'))
  const marksFile = join(path, 'marks')
  homes.add(path)
  return {
    path,
    marks: () => (existsSync(marksFile) ? readFileSync(marksFile, 'utf8').split('\n').filter(Boolean) : []),
    open: (gate) => writeFileSync(join(path, `open-${gate}`), ''),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}

export interface Status {
  name: string
  instanceId: string
  runtimeStatus: string
  input: unknown
  output: unknown
  customStatus: unknown
  historyEvents?: { EventType: string; FunctionName?: string }[]
}

export interface SampleHost extends RunningHost {
  /** A request with the key. */
  request(path: string, init?: RequestInit): Promise<Response>
  /** A request to the management API. */
  manage(method: string, path: string, body?: unknown): Promise<Response>
  /** Starts an orchestration; resolves with its id. */
  start(name: string, input?: unknown, id?: string): Promise<string>
  status(id: string): Promise<Status>
  /** Waits until an instance has ended. */
  ended(id: string): Promise<Status>
  /** Starts an orchestration and waits for its end. */
  run(name: string, input?: unknown, id?: string): Promise<Status>
  raise(id: string, event: string, value: unknown): Promise<void>
  /** Calls a method of DurableClient inside the app. */
  client(method: string, ...args: unknown[]): Promise<{ result?: unknown; error?: string }>
}

const endStates = ['Completed', 'Failed', 'Terminated']

/** Starts a host with an app of `apps/`; default is `sample`. */
export async function startSample(
  home: SampleHome,
  { app = 'sample', ...options }: Partial<StartHostOptions> = {},
): Promise<SampleHost> {
  const folder = join(import.meta.dirname, 'apps', app)
  const host = await startHost({ home: home.path, app: folder, command: hostFromSources, ...options })
  started.add(host)
  const request: SampleHost['request'] = (path, { headers, ...init } = {}) =>
    fetch(`${host.url}${path}`, { ...init, headers: { 'x-functions-key': host.key, ...(headers as object) } })
  const manage: SampleHost['manage'] = (method, path, body) =>
    request(`/runtime/webhooks/durabletask/${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    })

  const sample: SampleHost = {
    ...host,
    request,
    manage,
    async start(name, input = {}, id) {
      const response = await manage('POST', `orchestrators/${name}${id === undefined ? '' : `/${id}`}`, input)
      if (response.status !== 202) throw new Error(`not started: ${response.status} ${await response.text()}`)
      return ((await response.json()) as { id: string }).id
    },
    async status(id) {
      return (await (await manage('GET', `instances/${id}`)).json()) as Status
    },
    ended: (id) =>
      until(
        () => sample.status(id),
        ({ runtimeStatus }) => endStates.includes(runtimeStatus),
      ),
    run: async (name, input, id) => sample.ended(await sample.start(name, input, id)),
    async raise(id, event, value) {
      const { status } = await manage('POST', `instances/${id}/raiseEvent/${event}`, value)
      if (status !== 202) throw new Error(`not raised: ${status}`)
    },
    async client(method, ...args) {
      const response = await request(`/client/${method}`, { method: 'POST', body: JSON.stringify(args) })
      return (await response.json()) as { result?: unknown; error?: string }
    },
  }
  return sample
}

/** Asks again and again until the answer is the right one. */
export async function until<T>(
  ask: () => T | Promise<T>,
  isRight: (answer: T) => boolean = Boolean,
  timeoutMs = 60_000,
): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
    if (Date.now() > end) throw new Error(`Still not so after ${timeoutMs} ms: ${JSON.stringify(answer)}`)
    await wait(5)
  }
}

/** Waits until the app has left a line. */
export const marked = (home: SampleHome, line: string) => until(() => home.marks().includes(line))
