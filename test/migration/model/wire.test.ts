import { describe, expect, it } from 'vitest'
import { migrationSchema } from '../../../migration/model/migration-resource.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { toResource } from '../../../migration/model/wire.ts'
import { database, record, SECRETS, server, waiting } from './example.ts'

const following: DatabaseStatus = waiting('a', {
  tables: { queued: 0, loading: 1, completed: 4, errored: 2 },
  progress: { rowsDone: 10, rowsTotal: 20, bytesDone: 100, bytesTotal: 200, estimatedEnd: '2026-11-22T09:00:00.000Z' },
  changes: { inserts: 1, updates: 2, deletes: 3, truncates: 4, incoming: 12, applied: 10, transactions: 5, missed: 0 },
  latencySeconds: 1.2,
  lagBytes: 50,
  slot: { name: 's', walStatus: 'reserved', retainedBytes: 7 },
  warnings: ['careful'],
})

describe('the resource', () => {
  it('of a new migration has the shape of the service', () => {
    expect(toResource(record(), server({ phase: 'Queued' }), [database('a'), database('b')])).toEqual({
      id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/group/providers/Microsoft.DBforPostgreSQL/flexibleServers/target/migrations/orders',
      name: 'orders',
      type: 'Microsoft.DBforPostgreSQL/flexibleServers/migrations',
      location: 'westeurope',
      properties: {
        migrationId: '11111111-2222-4333-8444-555555555555',
        currentStatus: {
          state: 'InProgress',
          currentSubStateDetails: { currentSubState: 'PerformingPreRequisiteSteps', dbDetails: {} },
          pgflex: {
            actions: ['cancel'],
            phase: 'Queued',
            progress: { rowsDone: 0, rowsTotal: 0, bytesDone: 0, bytesTotal: 0 },
            warnings: [],
          },
        },
        migrationMode: 'Online',
        migrationOption: 'ValidateAndMigrate',
        sourceType: 'OnPremises',
        sslMode: 'Prefer',
        sourceDbServerResourceId: 'source.example.com:5433@migrator',
        targetDbServerResourceId:
          '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/group/providers/Microsoft.DBforPostgreSQL/flexibleServers/target',
        dbsToMigrate: ['a', 'b'],
        setupLogicalReplicationOnSourceDbIfNeeded: 'False',
        overwriteDbsInTarget: 'False',
        migrationWindowStartTimeInUtc: '2026-11-22T08:00:00.000Z',
        migrateRoles: 'False',
        pgflex: {
          writeFreeze: 'Automatic',
          verify: 'Checksums',
          fallback: 'None',
          serverParameters: 'Copy',
          maxLatencySecondsForCutover: 30,
          replicaIdentity: 'Report',
        },
      },
    })
  })

  it('shows each database with all counters, and the latency rounded up so that 0 means 0', () => {
    const { currentStatus } = toResource(record(), server(), [
      following,
      waiting('b', { latencySeconds: 0 }),
    ]).properties
    expect(currentStatus.currentSubStateDetails.dbDetails['a']).toMatchObject({
      databaseName: 'a',
      migrationState: 'WaitingForCutoverTrigger',
      fullLoadQueuedTables: 0,
      fullLoadLoadingTables: 1,
      fullLoadCompletedTables: 4,
      fullLoadErroredTables: 2,
      cdcInsertCounter: 1,
      cdcUpdateCounter: 2,
      cdcDeleteCounter: 3,
      incomingChanges: 12,
      appliedChanges: 10,
      latency: 2,
      pgflex: { actions: ['cutover', 'cancel'], latencySeconds: 1.2, lagBytes: 50 },
    })
    expect(currentStatus.currentSubStateDetails.dbDetails['b']).toMatchObject({ latency: 0 })
  })

  it('says nothing of the latency while nothing is followed', () => {
    const { currentStatus } = toResource(record(), server(), [
      database('a', { phase: 'CopyingData' }),
      database('b'),
    ]).properties
    expect(currentStatus.currentSubStateDetails.dbDetails['a']).not.toHaveProperty('latency')
    expect(currentStatus.pgflex).not.toHaveProperty('latencySeconds')
  })

  it('sums over the databases, with the greatest latency and the worst slot', () => {
    const other = waiting('b', {
      phase: 'CuttingOver',
      latencySeconds: 0.5,
      lagBytes: 5,
      slot: { name: 't', walStatus: 'unreserved', retainedBytes: 3 },
      progress: { rowsDone: 1, rowsTotal: 2, bytesDone: 3, bytesTotal: 4, estimatedEnd: '2026-11-22T10:00:00.000Z' },
      cutover: {
        startedAt: '2026-11-22T09:00:00.000Z',
        endedAt: '2026-11-22T09:00:03.000Z',
        downtimeSeconds: 2.5,
        steps: [{ name: 'Freeze', startedAt: '2026-11-22T09:00:00.000Z' }],
      },
      verification: {
        mode: 'Counts',
        result: 'Different',
        tables: 2,
        rows: 3,
        seconds: 1,
        differences: [{ table: 'public.t', source: '1', target: '2' }],
      },
    })
    expect(
      toResource(record(), server({ warnings: ['server'] }), [following, other]).properties.currentStatus.pgflex,
    ).toEqual({
      actions: ['cutover', 'cancel'],
      phase: 'Following',
      progress: {
        rowsDone: 11,
        rowsTotal: 22,
        bytesDone: 103,
        bytesTotal: 204,
        estimatedEnd: '2026-11-22T10:00:00.000Z',
      },
      lagBytes: 55,
      latencySeconds: 1.2,
      slot: { walStatus: 'unreserved', retainedBytes: 10 },
      cutover: {
        startedAt: '2026-11-22T09:00:00.000Z',
        endedAt: '2026-11-22T09:00:03.000Z',
        downtimeSeconds: 2.5,
        steps: [{ database: 'b', name: 'Freeze', startedAt: '2026-11-22T09:00:00.000Z' }],
      },
      verification: {
        mode: 'Counts',
        result: 'Different',
        tables: 2,
        rows: 3,
        seconds: 1,
        differences: [{ database: 'b', table: 'public.t', source: '1', target: '2' }],
      },
      warnings: ['server', 'a: careful'],
    })
  })

  it('echoes triggerCutover for Offline, and what was asked for otherwise', () => {
    const offline = toResource(record({ migrationMode: 'Offline' }), server(), [database('a'), database('b')])
    expect(offline.properties.triggerCutover).toBe('True')
    const asked = { ...record(), requests: { cutover: { a: { at: '', force: false } }, cancel: { b: { at: '' } } } }
    expect(toResource(asked, server(), [waiting('a'), waiting('b')]).properties).toMatchObject({
      triggerCutover: 'True',
      dbsToTriggerCutoverOn: ['a'],
      cancel: 'True',
      dbsToCancelMigrationOn: ['b'],
    })
  })

  it('has the end of the window once it has ended', () => {
    const ended = server({ phase: 'Ended', outcome: 'Succeeded', endedAt: '2026-11-22T11:00:00.000Z' })
    expect(toResource(record(), ended, [database('a'), database('b')]).properties.migrationWindowEndTimeInUtc).toBe(
      '2026-11-22T11:00:00.000Z',
    )
  })

  it('is what its published schema says, in every part', () => {
    const validation = {
      status: 'Warning' as const,
      validationStartTimeInUtc: '2026-11-22T08:00:00.000Z',
      validationEndTimeInUtc: '2026-11-22T08:00:01.000Z',
      serverLevelValidationDetails: [{ type: 'SourceVersionValidation', state: 'Succeeded' as const }],
      dbLevelValidationDetails: [],
    }
    const full = { ...record({ startDataMigration: true, pgflex: { copyJobs: 3 } }), tags: { team: 'x' } }
    const resource = toResource(full, server({ validation, sourceVersion: '13.5', targetVersion: '17.1' }), [
      following,
      database('b', { phase: 'CopyingData' }),
    ])
    expect(migrationSchema.parse(JSON.parse(JSON.stringify(resource)))).toEqual(resource)
  })

  it('has no secret, and no field of the record that is not named', () => {
    const leaky = { ...record(), secretParameters: { adminCredentials: { sourceServerPassword: SECRETS[0] } } }
    Object.assign(leaky.properties, { secretParameters: { adminCredentials: { targetServerPassword: SECRETS[1] } } })
    const text = JSON.stringify(toResource(leaky, server(), [following, waiting('b')]))
    for (const secret of [...SECRETS, 'secretParameters', 'adminCredentials']) expect(text).not.toContain(secret)
    expect(JSON.stringify(record())).not.toContain('s3cr3t')
  })
})
