import { API_VERSION } from '../migration/model/api-version.ts'
import { MIGRATION_TYPE } from '../migration/model/enums.ts'
import { migrationId, serverId, type MigrationPath } from '../migration/model/migration-id.ts'
import type { FallbackRequest } from '../migration/model/fallback.ts'
import type { ErrorBody, FallbackStatus, Migration, MigrationList } from '../migration/model/migration-resource.ts'
import type { VerificationReport } from '../migration/model/status.ts'
import { CliError, EXIT } from './cli-error.ts'
import type { HostAddress } from './host-address.ts'

export type ServerPath = Omit<MigrationPath, 'migrationName'>

export interface NameAvailability {
  name: string
  type: string
  nameAvailable: boolean
  reason?: string
  message?: string
}

/** The comparison of one database. */
export interface Verification {
  database: string
  /** It has not ended. */
  requested: boolean
  verification?: VerificationReport
}

/** The way back of one database. */
export interface WayBack {
  database: string
  /** Stays until it is called off. */
  requested?: FallbackRequest['action']
  fallback?: FallbackStatus
}

/** The host cannot be reached: it may be on its way up. */
export class HostUnreachable extends CliError {}

/** The HTTP resource, as functions. Each throws a {@link CliError} that says what the host said. */
export interface Client {
  create(name: string, body: unknown): Promise<Migration>
  show(name: string): Promise<Migration>
  list(filter: string): Promise<MigrationList>
  update(name: string, properties: Record<string, unknown>): Promise<Migration>
  /** @returns undefined when there was nothing to cancel */
  delete(name: string): Promise<Migration | undefined>
  checkName(name: string): Promise<NameAvailability>
  /** A sub-resource that is a list, such as `tables`. */
  details(name: string, detail: string, query?: Record<string, string>): Promise<Record<string, unknown>[]>
  /** The report as a page of HTML, or as JSON: the text as it is answered. */
  report(name: string, format: 'html' | 'json'): Promise<string>
  /** Asks for a comparison of these databases, or of all. */
  verify(name: string, databases?: string[]): Promise<Verification[]>
  verification(name: string): Promise<Verification[]>
  /** Asks for a switch back, or for the end of the way back. */
  fallback(name: string, asked: FallbackRequest): Promise<WayBack[]>
  waysBack(name: string): Promise<WayBack[]>
}

export function createClient({ url, key }: HostAddress, server: ServerPath): Client {
  async function callText(
    method: string,
    path: string,
    body?: unknown,
    query: Record<string, string> = {},
  ): Promise<string> {
    const search = new URLSearchParams({ 'api-version': API_VERSION, ...query })
    let response: Response
    try {
      response = await fetch(`${url}${path}?${search}`, {
        method,
        headers: { 'x-functions-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (error) {
      throw unreachable(url, error)
    }
    const text = await response.text()
    if (!response.ok) throw refused(response.status, text)
    return text
  }

  async function call<T>(...request: Parameters<typeof callText>): Promise<T | undefined> {
    const text = await callText(...request)
    return text === '' ? undefined : (JSON.parse(text) as T)
  }

  const of = (migrationName: string): string => encodePath(migrationId({ ...server, migrationName }))
  return {
    create: async (name, body) => (await call<Migration>('PUT', of(name), body))!,
    show: async (name) => (await call<Migration>('GET', of(name)))!,
    list: async (filter) =>
      (await call<MigrationList>('GET', `${encodePath(serverId(server))}/migrations`, undefined, {
        migrationListFilter: filter,
      }))!,
    update: async (name, properties) => (await call<Migration>('PATCH', of(name), { properties }))!,
    delete: (name) => call<Migration>('DELETE', of(name)),
    checkName: async (name) =>
      (await call<NameAvailability>('POST', `${encodePath(serverId(server))}/checkMigrationNameAvailability`, {
        name,
        type: MIGRATION_TYPE,
      }))!,
    details: async (name, detail, query) =>
      (await call<{ value: Record<string, unknown>[] }>('GET', `${of(name)}/${detail}`, undefined, query))!.value,
    report: (name, format) => callText('GET', `${of(name)}/report`, undefined, { format }),
    verify: async (name, databases) =>
      (await call<{ value: Verification[] }>('POST', `${of(name)}/verify`, databases ? { databases } : {}))!.value,
    fallback: async (name, asked) => (await call<{ value: WayBack[] }>('POST', `${of(name)}/fallback`, asked))!.value,
    waysBack: async (name) => (await call<{ value: WayBack[] }>('GET', `${of(name)}/fallback`))!.value,
    verification: async (name) => (await call<{ value: Verification[] }>('GET', `${of(name)}/verify`))!.value,
  }
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

function unreachable(url: string, error: unknown): HostUnreachable {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const { code, message } = cause as { code?: string; message?: string }
  return new HostUnreachable(`The host at ${url} cannot be reached: ${code ?? message ?? String(cause)}.`, {
    hint: 'Check that it is running (npm start) and that PGFLEX_URL is right.',
    cause: error,
  })
}

function refused(status: number, text: string): CliError {
  const error = parseError(text)
  const exitCode = status === 404 ? EXIT.notFound : EXIT.failed
  if (status === 401) return new CliError('The host does not accept the key.', { hint: 'Check PGFLEX_KEY.', exitCode })
  const details = error.details ?? []
  const lines =
    details.length > 1
      ? [`The request has ${details.length} problems:`, ...details.map(({ message }) => `- ${message}`)]
      : [error.message]
  return new CliError(`${lines.join('\n')} (${error.code})`, { exitCode })
}

function parseError(text: string): ErrorBody['error'] {
  try {
    const { error } = JSON.parse(text) as Partial<ErrorBody>
    if (error) return error
  } catch {
    // A gateway in between answers in HTML.
  }
  return { code: 'UnexpectedAnswer', message: text.slice(0, 300) || 'The host gave no reason.' }
}
