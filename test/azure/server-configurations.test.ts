import { expect, onTestFinished, test } from 'vitest'
import { parseServerId, serverConfigurations } from '../../azure/server-configurations.ts'
import { ca, startTlsServer, testCredential, TOKEN, type Answer, type Request } from './tls-server.ts'

const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555'
const SERVER = `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg`

interface Parameter {
  name: string
  properties: { value: string; source: string } & Record<string, unknown>
}

const parameter = (name: string, value: string, more: Record<string, unknown> = {}): Parameter => ({
  name,
  properties: {
    value,
    source: 'system-default',
    dataType: 'Integer',
    allowedValues: '1-262143',
    isDynamicConfig: true,
    isReadOnly: false,
    isConfigPendingRestart: false,
    ...more,
  },
})

/** Azure Resource Manager as far as server parameters go: a list in two pages, updates that take two looks. */
async function open() {
  const parameters = [
    parameter('max_connections', '859', { isDynamicConfig: false }),
    parameter('wal_level', 'replica', {
      isDynamicConfig: false,
      dataType: 'Enumeration',
      allowedValues: 'replica,logical',
    }),
    parameter('work_mem', '4096'),
  ]
  let looks = 0
  let updating: Parameter | undefined
  let overlapped = false

  function answer({ method, path, query, headers, body }: Request): Answer {
    if (headers.authorization !== `Bearer ${TOKEN}`) return error(401, 'AuthenticationFailed', 'no token')
    if (path.startsWith('/operations/')) {
      if (++looks < 3) return json(200, { name: 'op', status: 'InProgress' })
      if (updating!.properties.value === 'bad') {
        updating = undefined
        return json(200, { status: 'Failed', error: { code: 'InvalidParameterValue', message: 'bad is not allowed' } })
      }
      Object.assign(updating!.properties, {
        source: 'user-override',
        isConfigPendingRestart: !updating!.properties.isDynamicConfig,
      })
      updating = undefined
      return json(200, { name: 'op', status: 'Succeeded' })
    }
    if (!path.startsWith(`${SERVER}/configurations`)) return error(404, 'ResourceNotFound', path)
    if (method === 'GET' && path.endsWith('/configurations')) {
      const second = query.get('page') === '2'
      const nextLink = `${server.url}${SERVER}/configurations?api-version=2025-08-01&page=2`
      return json(200, second ? { value: parameters.slice(2) } : { value: parameters.slice(0, 2), nextLink })
    }
    const found = parameters.find(({ name }) => path.endsWith(`/${name}`))
    if (!found) return error(404, 'ConfigurationNotExists', 'There is no such parameter.')
    if (method === 'GET') return json(200, found)
    overlapped ||= updating !== undefined
    updating = found
    looks = 0
    const sent = JSON.parse(body) as { properties: { value: string; source: string } }
    if (sent.properties.source !== 'user-override') return error(400, 'InvalidParameterSource', 'source')
    found.properties.value = sent.properties.value
    return {
      status: 202,
      headers: {
        'azure-asyncoperation': `${server.url}/operations/1?api-version=2025-08-01`,
        location: `${server.url}/operations/1?api-version=2025-08-01`,
      },
    }
  }

  const server = await startTlsServer(answer)
  onTestFinished(() => server[Symbol.asyncDispose]())
  const credential = testCredential()
  const configurations = serverConfigurations(SERVER, credential, {
    endpoint: server.url,
    $host: server.url,
    credentialScopes: 'https://management.azure.com/.default',
    tlsOptions: { ca },
    updateIntervalInMs: 1,
  })
  return { parameters, server, configurations, credential, overlapped: () => overlapped }
}

const json = (status: number, body: unknown): Answer => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})
const error = (status: number, code: string, message: string): Answer => json(status, { error: { code, message } })

test('all pages of the parameters are listed', async () => {
  const { configurations } = await open()
  const list = await configurations.list()
  expect(list.map(({ name }) => name)).toEqual(['max_connections', 'wal_level', 'work_mem'])
  expect(list[1]).toEqual({
    name: 'wal_level',
    value: 'replica',
    isDynamicConfig: false,
    isReadOnly: false,
    isConfigPendingRestart: false,
    allowedValues: 'replica,logical',
    dataType: 'Enumeration',
  })
})

test('a parameter is set as an override, and the call waits for the operation', async () => {
  const { configurations, server } = await open()
  await configurations.set('wal_level', 'logical')
  const wal = (await configurations.list()).find(({ name }) => name === 'wal_level')
  expect(wal).toMatchObject({ value: 'logical', isConfigPendingRestart: true })
  expect(server.requests[0]).toBe(`PATCH ${SERVER}/configurations/wal_level?api-version=2025-08-01`)
})

test('changes of one server wait for each other, also after one that failed', async () => {
  const { configurations, parameters, overlapped } = await open()
  const [bad, good] = await Promise.allSettled([
    configurations.set('work_mem', 'bad'),
    configurations.set('max_connections', '900'),
  ])
  expect([bad.status, good.status, overlapped()]).toEqual(['rejected', 'fulfilled', false])
  expect(parameters[0]!.properties).toMatchObject({ value: '900', source: 'user-override' })
})

test('a refused value is an error with the reason of Azure, and not retryable', async () => {
  const { configurations } = await open()
  await expect(configurations.set('work_mem', 'bad')).rejects.toMatchObject({
    code: 'AzureRefused',
    retryable: false,
    message: expect.stringMatching(
      /set the server parameter work_mem to "bad".*InvalidParameterValue.*bad is not allowed/,
    ),
  })
})

test('an unknown parameter is an error with the code of Azure', async () => {
  const { configurations } = await open()
  await expect(configurations.set('no_such', '1')).rejects.toMatchObject({ code: 'ConfigurationNotExists' })
})

test('the id of the server is read in any casing, and anything else is refused', () => {
  expect(parseServerId(SERVER.toUpperCase())).toEqual({ subscription: SUBSCRIPTION, group: 'RG', server: 'PG' })
  expect(() => parseServerId(`${SERVER}/databases/x`)).toThrow(/is not the resource id of a flexible server/)
  expect(() => parseServerId('pg.postgres.database.azure.com')).toThrow(
    expect.objectContaining({
      code: 'TargetServerId',
      hint: expect.stringContaining('az postgres flexible-server show'),
    }),
  )
})
