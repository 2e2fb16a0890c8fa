import type { IncomingHttpHeaders } from 'node:http'
import type { RegisteredFunction } from './core-module.ts'
import type { RpcHttpCookie, RpcHttpData } from './core-types.ts'
import { errorAnswer, type HttpAnswer } from './http-answer.ts'
import type { Log } from './log.ts'
import { errorStack } from './sanitize.ts'
import type { Invoke } from './worker.ts'

export interface FunctionRequest {
  method: string
  url: URL
  headers: IncomingHttpHeaders
  params: Record<string, string>
  body: Buffer
}

/** Runs an HTTP function; `client` is the value of its `durableClient` input, should it have one. */
export async function callHttpFunction(
  invoke: Invoke,
  { metadata, trigger, callback }: RegisteredFunction,
  request: FunctionRequest,
  client: string,
  log: Log,
): Promise<HttpAnswer> {
  const clients = Object.entries(metadata.bindings).filter(([, { type }]) => /^durableClient$/i.test(type))
  const inputData = [
    { name: trigger.name, data: { http: rpcRequest(request) } },
    ...clients.map(([name]) => ({ name, data: { string: client } })),
  ]
  try {
    const { returnValue } = await invoke({ metadata, trigger, callback }, { inputData })
    return returnValue?.http ? answerOf(returnValue.http) : { status: 204, headers: {}, body: '' }
  } catch (error) {
    log.error('HTTP function failed', { name: metadata.name, error: errorStack(error) })
    return errorAnswer(500, 'InternalServerError', `The function ${metadata.name} failed. The host's log says why.`)
  }
}

function rpcRequest({ method, url, headers, params, body }: FunctionRequest): RpcHttpData {
  // On Azure the platform puts the user into these headers, after it has thrown away what came from outside.
  const fromPlatform = /^x-ms-client-principal/
  const flat = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || fromPlatform.test(name)
      ? []
      : [[name, Array.isArray(value) ? value.join(', ') : value] as const],
  )
  // The query stays in the URL: a record would lose all but one of several values of one name.
  return { method, url: url.href, headers: Object.fromEntries(flat), params, body: { bytes: body } }
}

function answerOf({ statusCode, headers = {}, cookies = [], body }: RpcHttpData): HttpAnswer {
  return {
    status: Number(statusCode ?? 200),
    headers: cookies.length > 0 ? { ...headers, 'set-cookie': cookies.map(cookieText) } : headers,
    body: body?.bytes ?? body?.string ?? '',
  }
}

function cookieText(cookie: RpcHttpCookie): string {
  const { name, value, domain, path, expires, secure, httpOnly, sameSite, maxAge } = cookie
  const sameSiteText = { lax: 'Lax', strict: 'Strict', explicitNone: 'None', none: undefined }[sameSite ?? 'none']
  return [
    `${name}=${encodeURIComponent(value)}`,
    domain && `Domain=${domain.value}`,
    path && `Path=${path.value}`,
    expires && `Expires=${new Date(expires.value.seconds * 1000).toUTCString()}`,
    maxAge && `Max-Age=${maxAge.value}`,
    secure?.value && 'Secure',
    httpOnly?.value && 'HttpOnly',
    sameSiteText && `SameSite=${sameSiteText}`,
  ]
    .filter(Boolean)
    .join('; ')
}
