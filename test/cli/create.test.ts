import { expect, it } from 'vitest'
import { createBody } from '../../cli/create.ts'
import { findHost } from '../../cli/host-address.ts'
import { changeOf } from '../../cli/update.ts'

it('options are put over the file, and passwords of the environment where the file has none', () => {
  const file = {
    Properties: {
      MigrationMode: 'Offline',
      SecretParameters: { AdminCredentials: { SourceServerPassword: 'file' } },
      dBsToMigrate: ['a'],
    },
  }
  const environment = { PGFLEX_SOURCE_PASSWORD: 'environment', PGFLEX_TARGET_PASSWORD: 'environment' }
  expect(createBody(file, { migrationMode: 'online', tags: ['a=b=c', 'd'] }, environment)).toEqual({
    location: 'local',
    tags: { a: 'b=c', d: '' },
    properties: {
      migrationMode: 'Online',
      migrationOption: 'ValidateAndMigrate',
      dbsToMigrate: ['a'],
      secretParameters: { adminCredentials: { sourceServerPassword: 'file', targetServerPassword: 'environment' } },
    },
  })
})

it('the file decides where there is no option', () => {
  const file = { location: 'x', properties: { migrationMode: 'Online', migrationOption: 'validate' } }
  expect(createBody(file, {}, {})).toMatchObject({
    location: 'x',
    properties: { migrationMode: 'Online', migrationOption: 'Validate' },
  })
})

it('an update is exactly one', () => {
  expect(changeOf({ dbNames: ['a'] })).toEqual({ dbsToMigrate: ['a'] })
  expect(changeOf({ overwriteDbs: true })).toEqual({ overwriteDbsInTarget: 'True' })
  expect(() => changeOf({})).toThrow('At least one')
  expect(() => changeOf({ cutover: true, cancel: true })).toThrow('Only one')
})

it('no other host gets to see a key that it was not given', () => {
  const home = { PGFLEX_HOME: '/nonexistent-pgflex-home' }
  expect(() => findHost(home)).toThrow(/No host runs in/)
  expect(() => findHost({ ...home, PGFLEX_URL: 'https://example.com' })).toThrow(/no key/)
  expect(() => findHost({ ...home, PGFLEX_URL: 'file:///etc', PGFLEX_KEY: 'k' })).toThrow(/not a URL/)
  expect(findHost({ ...home, PGFLEX_URL: 'https://example.com//', PGFLEX_KEY: 'k' })).toEqual({
    url: 'https://example.com',
    key: 'k',
  })
})
