import type { IncomingMessage } from 'node:http'
import { givenKey, isKey, isOurHost, isSameOrigin, type Identity } from './auth.ts'
import type { RegisteredFunction } from './core-module.ts'
import { managementPath } from './durable-client.ts'
import { errorAnswer, type HttpAnswer } from './http-answer.ts'
import { callHttpFunction } from './http-function.ts'
import { decodePath, matchRoute, type Route } from './http-routes.ts'
import type { Handler } from './http-server.ts'
import type { Log } from './log.ts'
import type { createManagementApi } from './management-api.ts'
import { bodyLimitBytes, readBody } from './read-body.ts'
import type { Invoke } from './worker.ts'

export interface RequestHandlerOptions {
  version: string
  key: string
  identity: () => Identity
  routes: Route<RegisteredFunction>[]
  management: ReturnType<typeof createManagementApi>
  /** The value of the functions' durable client inputs. */
  clientBinding: () => string
  isDraining: () => boolean
  invoke: Invoke
  log: Log
}

type Management = ReturnType<typeof createManagementApi>

const health = /^\/health\/?$/i

/** Everything that arrives from outside: guards first, then health, management or a function. */
export function createRequestHandler(options: RequestHandlerOptions): Handler {
  const { version, key, identity, routes, management, isDraining } = options

  return async function handle(request) {
    const { method = 'GET', headers } = request
    const secure = identity().certificate !== undefined
    if (!isOurHost(headers.host, identity()))
      return errorAnswer(403, 'InvalidHost', `The Host header "${headers.host ?? ''}" is not a name of this host.`)
    if (!isSameOrigin(headers.origin, headers.host, secure))
      return errorAnswer(403, 'InvalidOrigin', 'Requests from pages of another origin are refused.')
    if (isDraining())
      return withHeaders(errorAnswer(503, 'ShuttingDown', 'The host is shutting down.'), { 'retry-after': '1' })

    const url = parseUrl(request, secure)
    if (!url) return errorAnswer(400, 'BadRequest', 'The request target cannot be read.')
    if (health.test(url.pathname) && (method === 'GET' || method === 'HEAD'))
      return json(200, { status: 'ok', version })

    if (isBelow(url.pathname, managementPath)) {
      if (!isKey(givenKey(headers, url.searchParams), key)) return unauthorized()
      return answerManagement(management, request, url, managementPath)
    }

    const match = matchRoute(routes, method, url.pathname)
    // Without the key it stays unknown which routes exist.
    const needsKey = match === undefined || match.target.trigger.authLevel.toLowerCase() !== 'anonymous'
    if (needsKey && !isKey(givenKey(headers), key)) return unauthorized()
    if (!match) return errorAnswer(404, 'NotFound', `There is nothing at ${method} ${url.pathname}.`)

    const body = await readBody(request)
    if (!body) return tooLarge()
    const { target, params } = match
    return callHttpFunction(
      options.invoke,
      target,
      { method, url, headers, params, body },
      options.clientBinding(),
      options.log,
    )
  }
}

/** The same management API for DurableClient inside the app: on loopback, under a path that nobody can guess. */
export function createRpcHandler(management: Management, basePath: string): Handler {
  return async function handle(request) {
    const url = parseUrl(request, false)
    if (!url || !isBelow(url.pathname, basePath)) return errorAnswer(404, 'NotFound', 'There is nothing here.')
    return answerManagement(management, request, url, basePath)
  }
}

async function answerManagement(management: Management, request: IncomingMessage, url: URL, basePath: string) {
  const path = decodePath(url.pathname.slice(basePath.length))
  if (!path) return errorAnswer(400, 'BadRequest', 'The path cannot be decoded.')
  const body = await readBody(request)
  if (!body) return tooLarge()
  const token = request.headers['x-ms-continuation-token']
  return management({
    method: request.method ?? 'GET',
    path,
    query: url.searchParams,
    contentType: request.headers['content-type'] ?? '',
    continuationToken: typeof token === 'string' ? token : undefined,
    body: body.toString('utf8'),
  })
}

function parseUrl(request: IncomingMessage, secure: boolean): URL | undefined {
  const target = request.url ?? '/'
  if (!target.startsWith('/')) return undefined
  const base = `${secure ? 'https' : 'http'}://${request.headers.host ?? 'localhost'}`
  return URL.canParse(base + target) ? new URL(base + target) : undefined
}

const isBelow = (path: string, base: string) => path.startsWith(`${base}/`)

const json = (status: number, body: unknown): HttpAnswer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify(body),
})

const withHeaders = (answer: HttpAnswer, headers: Record<string, string>): HttpAnswer => ({
  ...answer,
  headers: { ...answer.headers, ...headers },
})

const unauthorized = () =>
  withHeaders(
    errorAnswer(401, 'Unauthorized', 'The key is missing or wrong. Send it as "Authorization: Bearer <key>".'),
    { 'www-authenticate': 'Bearer' },
  )

const tooLarge = () =>
  errorAnswer(413, 'RequestEntityTooLarge', `The body is larger than ${bodyLimitBytes / 1024 / 1024} MB.`)
