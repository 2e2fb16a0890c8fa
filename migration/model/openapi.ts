import { z } from 'zod'
import { API_VERSION } from './api-version.ts'
import { fallbackSchema } from './fallback.ts'
import { migrationSchema } from './migration-resource.ts'
import { patchSchema, putSchema } from './resource.ts'
import { verifySchema } from './verification-request.ts'

const ROOT =
  '/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{serverName}'
const MIGRATION = `${ROOT}/migrations/{migrationName}`

const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` })
const json = (schema: object): object => ({ content: { 'application/json': { schema } } })
const answer = (description: string, schema?: object): object => ({ description, ...(schema ? json(schema) : {}) })
const FAILED = { default: answer('What is wrong, and what to do.', ref('Error')) }

const parameter = (name: string, where: 'path' | 'query', required: boolean, more: object = {}): object => ({
  name,
  in: where,
  required,
  schema: { type: 'string' },
  ...more,
})
const apiVersion = parameter('api-version', 'query', true, { schema: { type: 'string', default: API_VERSION } })

const pathParameters = (path: string): object[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => parameter(name!, 'path', true))

interface Operation {
  id: string
  summary: string
  body?: string
  query?: object[]
  answers: Record<string, object>
}

function operation(path: string, { id, summary, body, query = [apiVersion], answers }: Operation): object {
  return {
    operationId: id,
    summary,
    parameters: [...pathParameters(path), ...query],
    ...(body === undefined ? {} : { requestBody: { required: true, ...json(ref(body)) } }),
    responses: { ...answers, ...FAILED },
  }
}

const list = (of: object): object => ({
  type: 'object',
  required: ['value'],
  properties: { value: { type: 'array', items: of } },
})

/** A sub-resource of our own, of which the shape is told in words only. */
const detail = (name: string, summary: string, query: string[] = []): [string, object] => {
  const path = `${MIGRATION}/${name}`
  const parameters = query.map((one) => parameter(one, 'query', false))
  return [
    path,
    {
      get: operation(path, {
        id: `Migrations_${name}`,
        summary,
        query: parameters,
        answers: { 200: answer(summary, { type: 'object' }) },
      }),
    },
  ]
}

function verifyOperations(path: string): object {
  const value = answer('Of each database whether it is asked for, and its report.', list({ type: 'object' }))
  return {
    get: operation(path, {
      id: 'Migrations_verification',
      summary: 'The comparison of source and target.',
      query: [],
      answers: { 200: value },
    }),
    post: operation(path, {
      id: 'Migrations_verify',
      summary: 'Compares source and target while they are followed.',
      body: 'VerifyRequest',
      query: [],
      answers: { 202: value },
    }),
  }
}

function fallbackOperations(path: string): object {
  const value = answer('Of each database its way back, and what is asked of it.', list({ type: 'object' }))
  return {
    get: operation(path, {
      id: 'Migrations_waysBack',
      summary: 'The ways back to the old source.',
      query: [],
      answers: { 200: value },
    }),
    post: operation(path, {
      id: 'Migrations_fallback',
      summary: 'Switches back to the old source, or ends the way back.',
      body: 'FallbackRequest',
      query: [],
      answers: { 202: value },
    }),
  }
}

/** The description of the HTTP interface: OpenAPI 3.1, whose schemas are JSON Schema as zod writes it. */
export function openApiDocument(): object {
  const migration = { 200: answer('The migration.', ref('Migration')) }
  const check = `${ROOT}/checkMigrationNameAvailability`
  const all = `${ROOT}/migrations`
  const report = `${MIGRATION}/report`
  return {
    openapi: '3.1.0',
    info: {
      title: 'pgflex',
      version: API_VERSION,
      description:
        'Migrations to Azure Database for PostgreSQL flexible server, in the shapes of Azure Resource Manager.',
    },
    security: [{ key: [] }, { bearer: [] }],
    paths: {
      [all]: {
        get: operation(all, {
          id: 'Migrations_ListByTargetServer',
          summary: 'Lists the migrations of a server.',
          query: [
            apiVersion,
            parameter('migrationListFilter', 'query', false, {
              schema: { enum: ['Active', 'All'], default: 'Active' },
            }),
          ],
          answers: { 200: answer('The migrations.', list(ref('Migration'))) },
        }),
      },
      [MIGRATION]: {
        put: operation(MIGRATION, {
          id: 'Migrations_Create',
          summary: 'Creates a migration and starts it.',
          body: 'MigrationForCreate',
          answers: {
            201: answer('It is created.', ref('Migration')),
            200: answer('It was there, and is the same.', ref('Migration')),
          },
        }),
        get: operation(MIGRATION, { id: 'Migrations_Get', summary: 'Shows a migration.', answers: migration }),
        patch: operation(MIGRATION, {
          id: 'Migrations_Update',
          summary: 'Cuts over, cancels, or changes what the migration waits for.',
          body: 'MigrationForPatch',
          answers: migration,
        }),
        delete: operation(MIGRATION, {
          id: 'Migrations_Cancel',
          summary: 'Cancels a migration.',
          answers: { ...migration, 204: answer('There is nothing to cancel.') },
        }),
      },
      [check]: {
        post: operation(check, {
          id: 'Migrations_CheckNameAvailability',
          summary: 'Says whether a name is free.',
          body: 'NameToCheck',
          answers: { 200: answer('Whether it is free.', ref('NameAvailability')) },
        }),
      },
      [`${MIGRATION}/verify`]: verifyOperations(`${MIGRATION}/verify`),
      [`${MIGRATION}/fallback`]: fallbackOperations(`${MIGRATION}/fallback`),
      ...Object.fromEntries([
        detail('tables', 'The tables with their state, rows and bytes.', ['database']),
        detail('events', 'What has happened, in order.', ['since', 'database']),
        detail('samples', 'Latency and throughput over time.', ['since', 'database']),
        detail('validation', 'The result of the validation.'),
        detail('parameters', 'Server parameters that differ, and what became of them.'),
      ]),
      [report]: {
        get: operation(report, {
          id: 'Migrations_report',
          summary: 'All that there is to say of a migration, as a page that needs nothing from elsewhere, or as JSON.',
          query: [parameter('format', 'query', false, { schema: { enum: ['html', 'json'], default: 'html' } })],
          answers: {
            200: {
              description: 'The report. JSON is answered also to an Accept of application/json without text/html.',
              content: {
                'text/html': { schema: { type: 'string' } },
                'application/json': { schema: { type: 'object' } },
              },
            },
          },
        }),
      },
    },
    components: {
      securitySchemes: {
        key: { type: 'apiKey', in: 'header', name: 'x-functions-key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
      schemas: {
        MigrationForCreate: schema(putSchema),
        MigrationForPatch: schema(patchSchema),
        Migration: schema(migrationSchema),
        VerifyRequest: schema(verifySchema),
        FallbackRequest: schema(fallbackSchema),
        NameToCheck: {
          type: 'object',
          required: ['name', 'type'],
          properties: { name: { type: 'string' }, type: { type: 'string' } },
        },
        NameAvailability: {
          type: 'object',
          properties: {
            name: { type: 'string' },
            type: { type: 'string' },
            nameAvailable: { type: 'boolean' },
            reason: { enum: ['Invalid', 'AlreadyExists'] },
            message: { type: 'string' },
          },
        },
        Error: ERROR,
      },
    },
  }
}

const ERROR = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message'],
      properties: {
        code: { type: 'string' },
        message: { type: 'string' },
        target: { type: 'string' },
        details: { type: 'array', items: { type: 'object' } },
      },
    },
  },
}

/** As clients write it: what has a default may be left out. */
function schema(of: z.ZodType): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(of, { io: 'input' }) as Record<string, unknown>
  return rest
}
