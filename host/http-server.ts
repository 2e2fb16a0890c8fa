import { X509Certificate } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Log } from './log.ts'
import { errorAnswer, type HttpAnswer } from './http-answer.ts'
import { errorStack } from './sanitize.ts'
import { StartupError } from './startup-error.ts'

export type Handler = (request: IncomingMessage) => Promise<HttpAnswer>

export interface Listening {
  port: number
  /** Refuses new connections; resolves when the requests under way are answered, or the time is over. */
  close(timeoutMs: number): Promise<void>
}

export interface ListenOptions {
  host: string
  port: number
  tls?: { cert: Buffer; key: Buffer }
  handler: Handler
  log: Log
}

/** Serves HTTP, or HTTPS with a certificate. A handler that throws is answered with 500. */
export async function listen({ host, port, tls, handler, log }: ListenOptions): Promise<Listening> {
  let closing = false
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    // A connection that is kept alive would hold up the end.
    if (closing) response.setHeader('connection', 'close')
    response.once('finish', () => closing && request.socket.end())
    void respond(request, response, handler, log)
  }
  const server = tls ? createSecureServer(tls, onRequest) : createServer(onRequest)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)))
    server.listen(port, host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    async close(timeoutMs) {
      closing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const timer = setTimeout(() => server.closeAllConnections(), timeoutMs)
      await closed
      clearTimeout(timer)
    },
  }
}

async function respond(request: IncomingMessage, response: ServerResponse, handler: Handler, log: Log): Promise<void> {
  response.on('error', () => {})
  let answer: HttpAnswer
  try {
    answer = await handler(request)
  } catch (error) {
    log.error('request failed', { method: request.method, error: errorStack(error) })
    answer = errorAnswer(500, 'InternalServerError', "The host failed to handle the request. The host's log says why.")
  }
  const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body
  response.writeHead(answer.status, { ...answer.headers, 'content-length': body.length })
  response.end(request.method === 'HEAD' ? undefined : body)
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code === 'EADDRINUSE')
    return new StartupError(`Port ${port} of ${host} is in use. Choose another one with --port.`, { cause: error })
  return new StartupError(`The host cannot listen on ${host}, port ${port}: ${error.message}`, { cause: error })
}

export const readCertificate = (tls: ListenOptions['tls']) => tls && new X509Certificate(tls.cert)
