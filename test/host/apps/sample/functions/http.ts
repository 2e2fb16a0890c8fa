import { app, type HttpRequest, type HttpResponseInit } from '@azure/functions'
import * as df from 'durable-functions'

async function echo(request: HttpRequest): Promise<HttpResponseInit> {
  return {
    jsonBody: {
      method: request.method,
      path: new URL(request.url).pathname,
      params: request.params,
      tags: request.query.getAll('tag'),
      header: request.headers.get('x-test'),
      body: await request.text(),
    },
  }
}

const methods = ['GET', 'POST', 'PUT', 'DELETE'] as const
app.http('item', { route: 'items/{group}/{id?}', methods: [...methods], authLevel: 'function', handler: echo })
app.http('special', {
  route: 'items/special',
  methods: ['GET'],
  authLevel: 'function',
  handler: () => ({ body: 'special' }),
})
app.http('numbered', { route: 'numbers/{n:int}', methods: ['GET'], authLevel: 'admin', handler: echo })
app.http('file', { route: 'files/{*path}', methods: ['GET'], authLevel: 'anonymous', handler: echo })

app.http('response', {
  route: 'response',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: () => ({
    status: 418,
    headers: { 'x-answer': 'yes', 'content-type': 'application/octet-stream' },
    cookies: [
      { name: 'a', value: '1', httpOnly: true, sameSite: 'Strict', path: '/' },
      { name: 'b', value: 'x y' },
    ],
    body: new Uint8Array([0, 255, 10]),
  }),
})

app.http('empty', { route: 'empty', methods: ['GET'], authLevel: 'anonymous', handler: () => undefined as never })

app.http('broken', {
  route: 'broken',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: () => {
    throw new Error('cannot reach postgres://app:hunter2@db.example.org/shop with Password=hunter3')
  },
})

app.http('uncaught', {
  route: 'uncaught',
  methods: ['POST'],
  authLevel: 'function',
  handler: () => {
    setImmediate(() => {
      throw new Error('nobody catches this, nor its Password=hunter4')
    })
    return { status: 202 }
  },
})

/** Calls a method of DurableClient: the arguments are the body. */
app.http('client', {
  route: 'client/{method}',
  methods: ['POST'],
  authLevel: 'function',
  extraInputs: [df.input.durableClient()],
  handler: async (request, context) => {
    const client = df.getClient(context)
    const method = request.params['method'] as 'startNew'
    const revive = (key: string, value: unknown) =>
      key.startsWith('createdTime') && typeof value === 'string' ? new Date(value) : value
    const args = JSON.parse(await request.text(), revive) as Parameters<typeof client.startNew>
    try {
      return { jsonBody: { result: (await client[method](...args)) ?? null } }
    } catch (error) {
      return { jsonBody: { error: (error as Error).message } }
    }
  },
})

app.http('start', {
  route: 'start/{name}',
  methods: ['POST'],
  authLevel: 'function',
  extraInputs: [df.input.durableClient()],
  handler: async (request, context) => {
    const client = df.getClient(context)
    const id = await client.startNew(request.params['name'] ?? '', { input: await request.json() })
    return client.createCheckStatusResponse(request, id)
  },
})

app.timer('nightly', { schedule: '0 0 3 * * *', handler: () => {} })
