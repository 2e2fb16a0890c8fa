import { afterAll, beforeAll, expect, test } from 'vitest'
import { serverContext } from '../../../migration/context.ts'
import type { ParameterReport } from '../../../migration/model/status.ts'
import { applyDatabaseSettings } from '../../../migration/server/apply-database-settings.ts'
import type { Configuration, ConfigurationWriter } from '../../../migration/server/configuration-writer.ts'
import { copyServerParameters } from '../../../migration/server/copy-server-parameters.ts'
import { readServerStatus } from '../../../migration/store/migrations.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  TARGET_USER,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17, {
    sourceSettings: {
      default_statistics_target: '250',
      work_mem: '9MB',
      autovacuum_naptime: '33s',
      log_min_duration_statement: '750ms',
      random_page_cost: '1.1',
    },
    targetSettings: { random_page_cost: '1.1' },
  })
  await createSourceDatabase(pair, 'shop', '')
  await createTargetDatabase(pair, 'shop')
  await using admin = await pair.source.connect('shop')
  await admin.query(`alter database shop set search_path = "Odd schema", public`)
  await admin.query(`alter database shop set statement_timeout = '5s'`)
  await admin.query(`alter database shop set default_transaction_read_only = on`)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

async function copyTo(
  options: TestMigrationOptions,
  writer?: ConfigurationWriter,
): Promise<Map<string, ParameterReport>> {
  await using migration: TestMigration = await createTestMigration(pair, 'shop', options)
  const { key } = migration.context
  await copyServerParameters(await serverContext(migration.surroundings, key), writer)
  {
    await using target = await migration.context.target('test')
    await applyDatabaseSettings(migration.context, target)
  }
  const { parameters } = await readServerStatus(migration.surroundings.documents, key)
  return new Map(parameters!.map((parameter) => [`${parameter.scope} ${parameter.name}`, parameter]))
}

test('an ordinary role sets for the database what it may not set for the server, and the rest is told with the statement', async () => {
  const report = await copyTo({})
  expect(report.get('server random_page_cost')).toMatchObject({ result: 'Equal' })
  expect(report.get('server work_mem')).toMatchObject({ result: 'Reported', reason: expect.stringContaining('size') })
  expect(report.get('server autovacuum_naptime')).toMatchObject({
    result: 'NotSet',
    reason: expect.stringContaining(`alter system set "autovacuum_naptime" = '33s'`),
  })
  expect(report.get('database default_statistics_target')).toMatchObject({ result: 'Set', sourceValue: '250' })
  expect([...report.keys()].filter((name) => /port|listen|wal_level$|data_directory|read_only/.test(name))).toEqual([
    'server wal_level',
  ])

  await using admin = await pair.target.connect('shop')
  expect((await admin.query('show default_statistics_target')).rows).toEqual([{ default_statistics_target: '250' }])
  expect((await admin.query('show search_path')).rows).toEqual([{ search_path: '"Odd schema", public' }])
  expect((await admin.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '5s' }])
  expect((await admin.query('show default_transaction_read_only')).rows).toEqual([
    { default_transaction_read_only: 'off' },
  ])
})

test('a role with the privilege sets the parameter for the server', async () => {
  await using admin = await pair.target.connect()
  await admin.query(`grant alter system on parameter autovacuum_naptime to ${TARGET_USER}`)
  await admin.query(`grant execute on function pg_reload_conf to ${TARGET_USER}`)
  const report = await copyTo({})
  expect(report.get('server autovacuum_naptime')).toMatchObject({ result: 'Set' })
  await expect
    .poll(async () => (await admin.query('show autovacuum_naptime')).rows)
    .toEqual([{ autovacuum_naptime: '33s' }])
})

test('on flexible server the parameters go through its configurations, in their base units', async () => {
  const calls: [string, string][] = []
  const known = (name: string, fields: Partial<Configuration> = {}): Configuration => ({
    name,
    value: '',
    isDynamicConfig: true,
    isReadOnly: false,
    isConfigPendingRestart: false,
    ...fields,
  })
  const writer: ConfigurationWriter = {
    list: async () => [known('log_min_duration_statement'), known('default_statistics_target', { isReadOnly: true })],
    set: async (name, value) => void calls.push([name, value]),
  }
  const report = await copyTo({ key: 'flexible' }, writer)
  expect(calls).toEqual([['log_min_duration_statement', '750']])
  expect(report.get('server log_min_duration_statement')).toMatchObject({ result: 'Set' })
  expect(report.get('server default_statistics_target')).toMatchObject({
    result: 'NotSet',
    reason: expect.stringContaining('read-only'),
  })
})

test('Report sets nothing', async () => {
  const report = await copyTo({ key: 'report', pgflex: { serverParameters: 'Report' } })
  expect([...report.values()].filter(({ result }) => result === 'Set' || result === 'NeedsRestart')).toEqual([])
})
