import { createHash, randomUUID } from 'node:crypto'
import {
  app,
  type FunctionInput,
  type HttpMethod,
  type HttpRequest,
  type HttpResponseInit,
  type InvocationContext,
} from '@azure/functions'
import type { Surroundings } from '../migration/context.ts'
import { MigrationError } from '../migration/errors.ts'
import { checkApiVersion } from '../migration/model/api-version.ts'
import { InvalidInput, problem } from '../migration/model/invalid-input.ts'
import type { MigrationPath } from '../migration/model/migration-id.ts'
import { surroundings } from './environment.ts'
import { errorResponse } from './errors.ts'
import { invocationLogger } from './run-activity.ts'

/** The server, the parent of its migrations. */
export const SERVER_ROUTE =
  'subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{serverName}'
export const MIGRATION_ROUTE = `${SERVER_ROUTE}/migrations/{migrationName}`

export type Handler = (
  request: HttpRequest,
  base: Surroundings,
  context: InvocationContext,
) => Promise<HttpResponseInit>

export interface RouteOptions {
  route: string
  methods: HttpMethod[]
  extraInputs?: FunctionInput[]
  /** `required`: as Azure Resource Manager. `optional`: our own sub-resources; a wrong one is still refused. */
  apiVersion?: 'required' | 'optional' | 'any'
}

/** Registers a route of the resource: a key is needed, every answer has its request id, every error its body. */
export function route(name: string, { apiVersion = 'required', ...options }: RouteOptions, handler: Handler): void {
  app.http(name, {
    ...options,
    authLevel: 'function',
    handler: async (request, context) => {
      const requestId = randomUUID()
      const log = invocationLogger(context)
      let response: HttpResponseInit
      try {
        const version = queryParameter(request, 'api-version')
        if (apiVersion === 'required' || (apiVersion === 'optional' && version !== undefined)) checkApiVersion(version)
        response = await handler(request, await surroundings(log), context)
      } catch (error) {
        response = errorResponse(error, requestId, log)
      }
      return withHeaders(response, requestId)
    },
  })
}

function withHeaders(response: HttpResponseInit, requestId: string): HttpResponseInit {
  return {
    ...response,
    headers: {
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      ...(response.jsonBody === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
      ...(response.headers as Record<string, string> | undefined),
      'x-ms-request-id': requestId,
    },
  }
}

/** A query parameter, its name whatever the case. */
export function queryParameter(request: Pick<HttpRequest, 'query'>, name: string): string | undefined {
  for (const [key, value] of request.query) if (key.toLowerCase() === name.toLowerCase()) return value
  return undefined
}

/** A body of this API is a few kilobytes, also with thousands of databases. */
const MAX_BODY_BYTES = 4 * 1024 * 1024

/** @throws {MigrationError} InvalidRequestContent, RequestEntityTooLarge */
export async function readJson(request: Pick<HttpRequest, 'text'>): Promise<unknown> {
  const text = await request.text()
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) {
    throw new MigrationError('RequestEntityTooLarge', `The body of the request is larger than ${MAX_BODY_BYTES} bytes.`)
  }
  try {
    return JSON.parse(text)
  } catch {
    // JSON.parse quotes the text around the fault, which may be a password.
    throw new MigrationError('InvalidRequestContent', 'The body of the request is not valid JSON.', { target: 'body' })
  }
}

/** An answer that a client can ask for again with If-None-Match, at the price of a header. */
export function cacheable(request: Pick<HttpRequest, 'headers'>, jsonBody: unknown): HttpResponseInit {
  const hash = createHash('sha256').update(JSON.stringify(jsonBody)).digest('base64url').slice(0, 27)
  const etag = `"${hash}"`
  const known = (request.headers.get('if-none-match') ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  if (known.includes(etag) || known.includes('*')) return { status: 304, headers: { etag } }
  return { status: 200, jsonBody, headers: { etag } }
}

const SEGMENTS: [keyof MigrationPath, RegExp, string][] = [
  ['subscriptionId', /^[A-Za-z0-9-]{1,64}$/, 'letters, digits and hyphens'],
  ['resourceGroupName', /^[\p{L}\p{N}_().-]{1,90}$/u, 'letters, digits, and _ ( ) . -'],
  ['serverName', /^[A-Za-z0-9](-?[A-Za-z0-9]){0,62}$/, 'letters, digits and single hyphens'],
]

/** @throws {InvalidInput} a segment with other characters than Azure allows */
export function serverPath({ params }: Pick<HttpRequest, 'params'>): Omit<MigrationPath, 'migrationName'> {
  const problems = SEGMENTS.filter(([name, pattern]) => params[name] !== undefined && !pattern.test(params[name])).map(
    ([name, , allowed]) => problem(name, `${name} is made of ${allowed}.`),
  )
  if (problems.length > 0) throw new InvalidInput(problems)
  return {
    subscriptionId: params['subscriptionId'] ?? '',
    resourceGroupName: params['resourceGroupName'] ?? '',
    serverName: params['serverName'] ?? '',
  }
}

export function migrationPath(request: Pick<HttpRequest, 'params'>): MigrationPath {
  return { ...serverPath(request), migrationName: request.params['migrationName'] ?? '' }
}

/** As Azure Resource Manager words it. */
export function notFound({ serverName, migrationName }: MigrationPath): MigrationError {
  return new MigrationError(
    'ResourceNotFound',
    `The Resource 'Microsoft.DBforPostgreSQL/flexibleServers/${serverName}/migrations/${migrationName}' was not found.`,
  )
}
