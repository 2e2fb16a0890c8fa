import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { sampleHome, startSample, type SampleHost } from './sample-host.ts'

// These tests start processes; a busy machine takes its time over that.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const home = sampleHome()
let host: SampleHost

beforeAll(async () => {
  host = await startSample(home)
})
afterAll(async () => {
  await host.kill()
  home[Symbol.dispose]()
})

/** A request whose Host header is free to choose, which `fetch` forbids; resolves with status and body. */
function rawRequest(
  path: string,
  headers: Record<string, string>,
): Promise<[status: number | undefined, body: string]> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${host.url}${path}`, { headers }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve([response.statusCode, body]))
    })
    request.on('error', reject).end()
  })
}

describe('an HTTP function', () => {
  test('gets method, parameters, repeated query values, headers and body', async () => {
    const response = await host.request('/items/Some%20Group/7?tag=a&tag=b', {
      method: 'PUT',
      headers: { 'x-test': 'yes' },
      body: '{"ünï":"code"}',
    })
    expect(await response.json()).toEqual({
      method: 'PUT',
      path: '/items/Some%20Group/7',
      params: { group: 'Some Group', id: '7' },
      tags: ['a', 'b'],
      header: 'yes',
      body: '{"ünï":"code"}',
    })
  })

  test('is found by path without regard to case, a literal before a parameter', async () => {
    expect(await (await host.request('/ITEMS/special')).text()).toBe('special')
    expect(await (await host.request('/Items/other')).json()).toMatchObject({ params: { group: 'other' } })
    expect(await (await host.request('/files/a/b/c.txt')).json()).toMatchObject({ params: { path: 'a/b/c.txt' } })
    expect((await host.request('/numbers/12')).status).toBe(200)
    expect((await host.request('/numbers/twelve')).status).toBe(404)
    expect((await host.request('/items/x', { method: 'PATCH' })).status).toBe(404)
  })

  test('answers with its status, headers, cookies and bytes', async () => {
    const response = await host.request('/response')
    expect(response.status).toBe(418)
    expect(response.headers.get('x-answer')).toBe('yes')
    expect(response.headers.getSetCookie()).toEqual(['a=1; Path=/; HttpOnly; SameSite=Strict', 'b=x%20y'])
    expect([...new Uint8Array(await response.arrayBuffer())]).toEqual([0, 255, 10])
    expect((await host.request('/empty')).status).toBe(204)
  })

  test('that throws is answered with 500, without its message; the log has it without credentials', async () => {
    const response = await host.request('/broken')
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({ error: { code: 'InternalServerError' } })
    expect(host.output()).toContain('cannot reach postgres://[Hidden Credential]@db.example.org/shop')
    expect(host.output()).not.toMatch(/hunter/)
  })

  test('gets no body of more than 10 MB', async () => {
    const response = await host.request('/items/big', { method: 'POST', body: Buffer.alloc(10 * 1024 * 1024 + 1) })
    expect([response.status, await response.json()]).toMatchObject([413, { error: { code: 'RequestEntityTooLarge' } }])
    const chunked = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(1024 * 1024))
        if (++sent === 12) controller.close()
      },
    })
    let sent = 0
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: chunked, duplex: 'half' }
    expect((await host.request('/items/big', init)).status).toBe(413)
    const allowed = await host.request('/items/big', { method: 'POST', body: Buffer.alloc(9 * 1024 * 1024, 'x') })
    expect(((await allowed.json()) as { body: string }).body).toHaveLength(9 * 1024 * 1024)
  })
})

describe('the key', () => {
  test('is needed for everything but health and anonymous functions', async () => {
    const status = (path: string) => fetch(`${host.url}${path}`).then((response) => response.status)
    expect(await status('/health')).toBe(200)
    expect(await status('/files/page.html')).toBe(200)
    expect(await status('/items/x')).toBe(401)
    expect(await status('/numbers/1')).toBe(401)
    expect(await status('/no/such/route')).toBe(401)
    expect(await status('/runtime/webhooks/durabletask/instances')).toBe(401)
  })

  test('is taken from either header, and from the query for the management API alone', async () => {
    const status = (path: string, headers: Record<string, string> = {}) =>
      fetch(`${host.url}${path}`, { headers }).then((response) => response.status)
    const { key } = host
    expect(await status('/items/x', { authorization: `Bearer ${key}` })).toBe(200)
    expect(await status('/items/x', { 'x-functions-key': key })).toBe(200)
    expect(await status('/items/x', { authorization: `Bearer ${key}x` })).toBe(401)
    expect(await status(`/items/x?code=${key}`)).toBe(401)
    expect(await status(`/runtime/webhooks/durabletask/instances?code=${key}`)).toBe(200)
    expect(await status('/runtime/webhooks/durabletask/instances?code=wrong')).toBe(401)
  })

  test('does not open what does not exist', async () => {
    const response = await host.request('/no/such/route')
    expect([response.status, await response.json()]).toMatchObject([404, { error: { code: 'NotFound' } }])
  })
})

describe('requests that a foreign page could cause', () => {
  test.for(['evil.example.org', 'evil.example.org:PORT', '127.0.0.1:1', 'localhost', '127.0.0.1.nip.io:PORT'])(
    'with Host %s are refused',
    async (name) => {
      const [status, body] = await rawRequest('/health', { host: name.replace('PORT', new URL(host.url).port) })
      expect([status, body]).toEqual([403, expect.stringContaining('InvalidHost')])
    },
  )

  test('with a loopback name and the right port are served', async () => {
    const { port } = new URL(host.url)
    for (const name of ['localhost', '127.0.0.1', 'LOCALHOST', '[::1]'])
      expect((await rawRequest('/health', { host: `${name}:${port}` }))[0]).toBe(200)
  })

  test('from another origin are refused even with the key, from the same one served', async () => {
    const from = (origin: string) => host.request('/items/x', { headers: { origin } }).then(({ status }) => status)
    expect(await from('https://evil.example.org')).toBe(403)
    expect(await from('null')).toBe(403)
    expect(await from(host.url.replace('http:', 'https:'))).toBe(403)
    expect(await from(host.url.replace(/:\d+$/, ':1'))).toBe(403)
    expect(await from(host.url)).toBe(200)
  })

  test('to the address of the client binding without its token find nothing', async () => {
    expect((await fetch(`${host.url}/runtime/rpc/guess/durabletask/instances`)).status).toBe(401)
  })
})

test('health says the version', async () => {
  expect(await (await fetch(`${host.url}/health`)).json()).toEqual({
    status: 'ok',
    version: expect.any(String) as string,
  })
})

test('malformed escapes in a path are no crash', async () => {
  expect((await host.request('/items/%E0%A4%A')).status).toBe(404)
  expect((await host.request('/runtime/webhooks/durabletask/instances/%ZZ')).status).toBe(400)
})

test('a function whose trigger only the real host has is reported at the start', () => {
  expect(host.output()).toMatch(/never runs this function.*function="nightly" trigger="timertrigger"/)
})
