import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { AccessToken, TokenCredential } from '@azure/identity'

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8')

/** The certificate of the test servers signs itself, and is trusted by the clients of these tests alone. */
export const ca = fixture('localhost.crt.pem')

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  /** Carries the request out and then loses the answer on the way. */
  lost?: boolean
}

export interface Request {
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingMessage['headers']
  body: string
}

export interface TlsServer extends AsyncDisposable {
  url: string
  /** Method, path and query of every request, in order. */
  requests: string[]
}

/** An HTTPS server on a free port of this machine that answers through one function. */
export async function startTlsServer(answer: (request: Request) => Answer): Promise<TlsServer> {
  const requests: string[] = []

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url!, 'https://localhost')
    const request: Request = {
      method: message.method!,
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      headers: message.headers,
      body: await text(message),
    }
    requests.push(`${request.method} ${request.path}${url.search}`)
    const { status, headers, body = '', lost } = answer(request)
    if (lost === true) {
      message.socket.destroy()
      return
    }
    response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...headers })
    response.end(request.method === 'HEAD' ? '' : body)
  }

  const server = createServer({ key: fixture('localhost.key.pem'), cert: ca }, (message, response) => {
    handle(message, response).catch((error: Error) => response.writeHead(500).end(error.stack))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const TOKEN = 'test-token'

/** A credential that gives one token for any scope and remembers which was asked for. */
export function testCredential(): TokenCredential & { scopes: string[] } {
  const scopes: string[] = []
  return {
    scopes,
    async getToken(scope): Promise<AccessToken> {
      scopes.push(...[scope].flat())
      return { token: TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }
    },
  }
}
