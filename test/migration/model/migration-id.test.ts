import { expect, it } from 'vitest'
import { migrationKey, serverIdOf } from '../../../migration/model/migration-id.ts'
import { nearest } from '../../../migration/model/invalid-input.ts'
import { checkApiVersion } from '../../../migration/model/api-version.ts'
import { record, PATH } from './example.ts'

it('a key is readable, safe as an instance id, and the same for every spelling of the path', () => {
  const key = migrationKey(PATH)
  expect(key).toMatch(/^target-orders-[0-9a-f]{8}$/)
  expect(migrationKey({ ...PATH, serverName: 'TARGET', migrationName: 'Orders', resourceGroupName: 'GROUP' })).toBe(key)
  expect(migrationKey({ ...PATH, resourceGroupName: 'other' })).not.toBe(key)
  const long = migrationKey({ ...PATH, serverName: 'a-'.repeat(31) + 'a', migrationName: 'b'.repeat(63) })
  expect(long).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
  expect(long.length).toBeLessThanOrEqual(60)
})

it('the server is the parent of its migrations', () => {
  expect(serverIdOf(record().id)).toMatch(/\/flexibleServers\/target$/)
})

it('a name is near when few letters differ', () => {
  const known = ['migrationMode', 'dbsToMigrate', 'sslMode']
  expect(nearest('migrationMod', known)).toBe('migrationMode')
  expect(nearest('DBToMigrate', known)).toBe('dbsToMigrate')
  expect(nearest('foo', known)).toBeUndefined()
})

it('a version is needed, and known', () => {
  expect(() => checkApiVersion('2025-08-01')).not.toThrow()
  expect(() => checkApiVersion('2024-11-01-PREVIEW')).not.toThrow()
  expect(() => checkApiVersion(undefined)).toThrow('required')
  expect(() => checkApiVersion('2022-12-01')).toThrow('not supported')
})
