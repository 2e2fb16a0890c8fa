import { afterAll, beforeAll, expect, test } from 'vitest'
import { hasState, migrationBody, startMigrationHost, type MigrationHost } from '../support/migration-host.ts'
import { createSourceDatabase, startServerPair, type ServerPair } from '../support/servers.ts'

let pair: ServerPair
let host: MigrationHost

interface ErrorBody {
  error: { code: string; message: string; target?: string; details?: { message: string; target?: string }[] }
}

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await createSourceDatabase(pair, 'shop', 'create table t (id int primary key)')
  host = await startMigrationHost()
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

async function refused(name: string, body: unknown): Promise<{ status: number; text: string }> {
  const answer = await host.migration<ErrorBody>('PUT', name, body)
  return { status: answer.status, text: JSON.stringify(answer.body) }
}

function without(body: ReturnType<typeof migrationBody>, path: string[]): unknown {
  const copy = structuredClone(body) as Record<string, unknown>
  let at = copy
  for (const part of path.slice(0, -1)) at = at[part] as Record<string, unknown>
  delete at[path.at(-1)!]
  return copy
}

test('what is wrong with a request is answered with 4xx and names the field', async () => {
  const body = migrationBody(pair, ['shop'])
  const with_ = (properties: Record<string, unknown>): unknown => migrationBody(pair, ['shop'], properties)
  const cases: [string, string, unknown, RegExp][] = [
    ['an unknown field', 'unknown', with_({ dbsToMigrat: ['x'] }), /dbsToMigrat.*dbsToMigrate/],
    ['a wrong enum', 'wrongenum', with_({ migrationMode: 'Sometimes' }), /migrationMode.*Online/],
    ['a wrong name', 'wrong_name!', body, /name/i],
    [
      'a missing password',
      'nopassword',
      without(body, ['properties', 'secretParameters', 'adminCredentials', 'sourceServerPassword']),
      /sourceServerPassword/,
    ],
    ['no databases', 'nodbs', without(body, ['properties', 'dbsToMigrate']), /dbsToMigrate/],
    [
      'the same server twice',
      'same',
      with_({ targetDbServerFullyQualifiedDomainName: `${pair.source.host}:${pair.source.port}` }),
      /same server/i,
    ],
    ['an unknown option of ours', 'ouroption', with_({ pgflex: { verfy: 'Counts' } }), /verfy.*verify/],
  ]
  for (const [what, name, input, expected] of cases) {
    const { status, text } = await refused(encodeURIComponent(name), input)
    expect({ what, status: status >= 400 && status < 500, text }).toEqual({
      what,
      status: true,
      text: expect.stringMatching(expected),
    })
    expect(text).not.toContain('s3cr3t')
  }
})

test('wrong passwords, addresses and databases end as failed validation, and say which and what to do', async () => {
  const credentials = (source: string, target: string): Record<string, unknown> => ({
    secretParameters: {
      adminCredentials: { sourceServerPassword: source, targetServerPassword: target },
      sourceServerUsername: 'migrator',
      targetServerUsername: 'target_admin',
    },
  })
  const cases: [string, string[], Record<string, unknown>, RegExp][] = [
    ['wrong-source', ['shop'], credentials('s3cr3t-wrong', pair.targetPassword), /603100.*source/],
    ['wrong-target', ['shop'], credentials(pair.sourcePassword, 's3cr3t-wrong'), /603100.*target/],
    ['unreachable', ['shop'], { sourceDbServerResourceId: '127.0.0.1:1@migrator' }, /603000.*source.*127\.0\.0\.1:1/],
    ['no-database', ['nowhere'], {}, /603102.*nowhere/],
  ]
  for (const [name, databases, properties] of cases) {
    expect((await host.migration('PUT', name, migrationBody(pair, databases, properties))).status).toBe(201)
  }
  for (const [name, , , expected] of cases) {
    const ended = await host.waitFor(name, 'validation fails', hasState('ValidationFailed'))
    const text = JSON.stringify(ended)
    expect(text).toMatch(expected)
    expect(text).not.toContain('s3cr3t')
  }
  expect(host.output()).not.toContain('s3cr3t')
})

test('a second migration of the same name is refused, and an identical repeat is not', async () => {
  const body = migrationBody(pair, ['shop'], { migrationOption: 'Validate' })
  expect((await host.migration('PUT', 'twice', body)).status).toBe(201)
  expect((await host.migration('PUT', 'twice', body)).status).toBe(200)
  const other = await host.migration<ErrorBody>(
    'PUT',
    'twice',
    migrationBody(pair, ['other'], { migrationOption: 'Validate' }),
  )
  expect(other.status).toBe(409)
  expect(JSON.stringify(other.body)).toMatch(/dbsToMigrate/)
})

test('without the key there is no answer', async () => {
  const response = await fetch(
    `${host.url()}/subscriptions/x/resourceGroups/y/providers/Microsoft.DBforPostgreSQL/flexibleServers/z/migrations?api-version=2025-08-01`,
  )
  expect(response.status).toBe(401)
})
