import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHost, type RunningHost } from '../../host/start-host.ts'
import { SOURCE_USER, TARGET_USER, type ServerPair } from './servers.ts'

/** A migration resource as a client sees it, loosely typed: tests look at what is on the wire. */
export interface Resource {
  name: string
  properties: {
    currentStatus: {
      state: string
      error?: string
      currentSubStateDetails?: {
        currentSubState: string
        dbDetails: Record<
          string,
          {
            migrationState: string
            message?: string
            latency?: number
            appliedChanges?: number
            pgflex?: { phase: string; warnings?: string[] }
          }
        >
        validationDetails?: unknown
      }
      pgflex?: Record<string, unknown>
    }
  } & Record<string, unknown>
}

export interface Answer<T> {
  status: number
  body: T
  headers: Headers
}

/** A local host with a home of its own, and a client of its API. */
export interface MigrationHost extends AsyncDisposable {
  home: string
  /** Everything that all its processes wrote so far. */
  output(): string
  pid(): number
  key(): string
  url(): string
  request<T>(method: string, path: string, body?: unknown): Promise<Answer<T>>
  /** A request to the migration of this name, or below it. */
  migration<T = Resource>(method: string, name: string, body?: unknown, below?: string): Promise<Answer<T>>
  /** Waits until the migration is as the condition says; fails at once when it ends otherwise. */
  waitFor(name: string, what: string, condition: (resource: Resource) => boolean, timeoutMs?: number): Promise<Resource>
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<number | null>
}

const SERVER =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.DBforPostgreSQL/flexibleServers/local'
const ENDED = ['Succeeded', 'Failed', 'Canceled', 'ValidationFailed']

export async function startMigrationHost(env: Record<string, string> = {}): Promise<MigrationHost> {
  const home = mkdtempSync(join(tmpdir(), 'pgflex-home-'))
  let host: RunningHost = await startHost({ home, env })
  let earlier = ''

  async function request<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const response = await fetch(host.url + path, {
      method,
      headers: { 'x-functions-key': host.key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      body: (text === '' ? undefined : JSON.parse(text)) as T,
      headers: response.headers,
    }
  }

  function migration<T = Resource>(method: string, name: string, body?: unknown, below = ''): Promise<Answer<T>> {
    return request<T>(
      method,
      `${SERVER}/migrations/${name}${below}${below.includes('?') ? '&' : '?'}api-version=2025-08-01`,
      body,
    )
  }

  return {
    home,
    request,
    migration,
    pid: () => host.pid,
    key: () => host.key,
    url: () => host.url,
    output: () => earlier + host.output(),
    async waitFor(name, what, condition, timeoutMs = 120_000) {
      const deadline = Date.now() + timeoutMs
      for (;;) {
        const { body } = await migration('GET', name)
        if (condition(body)) return body
        const { state, error } = body.properties.currentStatus
        if (ENDED.includes(state))
          throw new Error(
            `${name} ended as ${state} (${error}) before: ${what}\n${JSON.stringify(body.properties.currentStatus, null, 1)}`,
          )
        if (Date.now() > deadline)
          throw new Error(
            `${name} took too long: ${what}\n${JSON.stringify(body.properties.currentStatus, null, 1)}\n${host.output().slice(-3000)}`,
          )
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async kill() {
      earlier += host.output()
      await host.kill()
    },
    async start() {
      host = await startHost({ home, env })
    },
    stop: () => host.stop(),
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** The body of a PUT for a migration between the pair. */
export function migrationBody(
  pair: ServerPair,
  databases: string[],
  properties: Record<string, unknown> = {},
): { location: string; properties: Record<string, unknown> } {
  return {
    location: 'local',
    properties: {
      migrationMode: 'Online',
      migrationOption: 'ValidateAndMigrate',
      sourceType: 'OnPremises',
      sslMode: 'Prefer',
      sourceDbServerResourceId: `${pair.source.host}:${pair.source.port}@${SOURCE_USER}`,
      targetDbServerFullyQualifiedDomainName: `${pair.target.host}:${pair.target.port}`,
      secretParameters: {
        adminCredentials: { sourceServerPassword: pair.sourcePassword, targetServerPassword: pair.targetPassword },
        sourceServerUsername: SOURCE_USER,
        targetServerUsername: TARGET_USER,
      },
      dbsToMigrate: databases,
      overwriteDbsInTarget: 'False',
      ...properties,
    },
  }
}

export function substate(resource: Resource): string | undefined {
  return resource.properties.currentStatus.currentSubStateDetails?.currentSubState
}

export function isWaitingForCutover(resource: Resource): boolean {
  return substate(resource) === 'WaitingForCutoverTrigger'
}

export function hasState(state: string): (resource: Resource) => boolean {
  return (resource) => resource.properties.currentStatus.state === state
}
