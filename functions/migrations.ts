import type { HttpRequest, HttpResponseInit, InvocationContext } from '@azure/functions'
import * as df from 'durable-functions'
import type { Surroundings } from '../migration/context.ts'
import { createMigration } from '../migration/create-migration.ts'
import { MigrationError } from '../migration/errors.ts'
import { fallbackIsOn } from '../migration/model/fallback.ts'
import { MIGRATION_TYPE } from '../migration/model/enums.ts'
import { InvalidInput, problem } from '../migration/model/invalid-input.ts'
import { migrationKey, nameProblem, serverId, type MigrationPath } from '../migration/model/migration-id.ts'
import {
  listMigrations,
  readFallbacks,
  readMigration,
  resourceOf,
  withStatus,
  type StoredMigration,
} from '../migration/read-migration.ts'
import { updateMigration } from '../migration/update-migration.ts'
import { orchestration } from './orchestration-client.ts'
import {
  cacheable,
  MIGRATION_ROUTE,
  migrationPath,
  notFound,
  queryParameter,
  readJson,
  route,
  SERVER_ROUTE,
  serverPath,
} from './http.ts'

const client = (): df.DurableClientInput => df.input.durableClient()

route(
  'createMigration',
  { methods: ['PUT'], route: MIGRATION_ROUTE, extraInputs: [client()] },
  async (request, base, context) => {
    const path = migrationPath(request)
    const { record, created } = await createMigration(base, path, await readJson(request))
    const stored = await withStatus(base, record)
    await orchestration(context, base.log).ensureStarted(stored)
    return { status: created ? 201 : 200, jsonBody: resourceOf(stored) }
  },
)

route('getMigration', { methods: ['GET'], route: MIGRATION_ROUTE }, async (request, base) => {
  const path = migrationPath(request)
  const stored = await readMigration(base, migrationKey(path))
  if (!stored) throw notFound(path)
  return cacheable(request, resourceOf(stored))
})

route(
  'updateMigration',
  { methods: ['PATCH'], route: MIGRATION_ROUTE, extraInputs: [client()] },
  async (request, base, context) => {
    const path = migrationPath(request)
    const body = await readJson(request)
    if (!(await readMigration(base, migrationKey(path)))) throw notFound(path)
    return change(path, body, base, context)
  },
)

/** Cancels, as the service does; a migration that has ended stays where it is. */
route(
  'cancelMigration',
  { methods: ['DELETE'], route: MIGRATION_ROUTE, extraInputs: [client()] },
  async (request, base, context) => {
    const path = migrationPath(request)
    const before = await readMigration(base, migrationKey(path))
    if (!before) return { status: 204 }
    refuseWithWayBack(before)
    if (isOver(before)) return { status: 204 }
    try {
      return await change(path, { properties: { cancel: 'True' } }, base, context)
    } catch (error) {
      // It has ended in between.
      if (error instanceof MigrationError && error.code === 'MigrationEnded') return { status: 204 }
      throw error
    }
  },
)

/** What is asked is stored when this answers; the orchestration is told on the way. */
async function change(
  path: MigrationPath,
  body: unknown,
  base: Surroundings,
  context: InvocationContext,
): Promise<HttpResponseInit> {
  const { record, events } = await updateMigration(base, migrationKey(path), body)
  const stored = await withStatus(base, record)
  await orchestration(context, base.log).wake(stored, events)
  return { status: 200, jsonBody: resourceOf(stored) }
}

route('listMigrations', { methods: ['GET'], route: `${SERVER_ROUTE}/migrations` }, async (request, base) => {
  const active = isActiveFilter(request)
  const migrations = await listMigrations(base, serverId(serverPath(request)))
  return cacheable(request, { value: migrations.filter((one) => !active || !isOver(one)).map(resourceOf) })
})

route(
  'checkMigrationNameAvailability',
  { methods: ['POST'], route: `${SERVER_ROUTE}/checkMigrationNameAvailability` },
  async (request, base) => {
    const { name, type } = nameAndType(await readJson(request))
    const wrong = nameProblem(name)
    if (wrong !== undefined) {
      return { status: 200, jsonBody: { name, type, nameAvailable: false, reason: 'Invalid', message: wrong } }
    }
    if (await readMigration(base, migrationKey({ ...serverPath(request), migrationName: name }))) {
      const message = `There is a migration "${name}" already.`
      return { status: 200, jsonBody: { name, type, nameAvailable: false, reason: 'AlreadyExists', message } }
    }
    return { status: 200, jsonBody: { name, type, nameAvailable: true } }
  },
)

/** Ended, it would be gone for good; that is not what a repeated DELETE may do. */
function refuseWithWayBack(stored: StoredMigration): void {
  const on = isOver(stored) ? readFallbacks(stored).filter(fallbackIsOn) : []
  if (on.length === 0) return
  throw new MigrationError(
    'FallbackIsOn',
    `The migration has ended, and its way back is on: ${on.map(({ status }) => `"${status.database}"`).join(', ')}.`,
    { hint: 'End it first: pgflex migration fallback --end, or POST …/fallback {"action":"end"}.' },
  )
}

function isOver(stored: Parameters<typeof resourceOf>[0]): boolean {
  return resourceOf(stored).properties.currentStatus.currentSubStateDetails.currentSubState === 'Completed'
}

function isActiveFilter(request: HttpRequest): boolean {
  const filter = queryParameter(request, 'migrationListFilter') ?? 'Active'
  if (!/^(active|all)$/i.test(filter)) {
    throw new InvalidInput([problem('migrationListFilter', 'migrationListFilter must be one of Active, All.')])
  }
  return /^active$/i.test(filter)
}

function nameAndType(body: unknown): { name: string; type: string } {
  const given = Object.fromEntries(
    Object.entries(typeof body === 'object' && body !== null ? body : {}).map(([key, value]) => [
      key.toLowerCase(),
      value,
    ]),
  ) as Record<string, unknown>
  const { name, type } = given
  const problems = [
    ...(typeof name === 'string' ? [] : [problem('name', 'name is missing.')]),
    ...(typeof type === 'string' && type.toLowerCase() === MIGRATION_TYPE.toLowerCase()
      ? []
      : [problem('type', `type must be ${MIGRATION_TYPE}.`)]),
  ]
  if (problems.length > 0) throw new InvalidInput(problems)
  return { name: name as string, type: type as string }
}
