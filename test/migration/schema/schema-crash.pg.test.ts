import type { Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Connection } from '../../../migration/connect.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { isTransient } from '../../../migration/errors.ts'
import { connect } from '../../../migration/connect.ts'
import { createSourceDatabase, createTestMigration, type ServerPair } from '../../support/servers.ts'
import { RICH_DATA, RICH_SCHEMA } from './rich-schema.ts'
import { migrateSchema, schemaOf, startPairWithRoles } from './schema-test.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startPairWithRoles(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** xorshift32: a sequence that a printed seed gives again. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** A context whose connections to the target break, all of them, at the n-th query. */
function breaking(context: DatabaseContext, queries: number): DatabaseContext {
  const sockets: Socket[] = []
  let left = queries
  const count = (connection: Connection): Connection => {
    sockets.push((connection as unknown as { connection: { stream: Socket } }).connection.stream)
    const query = connection.query.bind(connection) as (...args: unknown[]) => unknown
    connection.query = ((...args: unknown[]) => {
      const result = query(...args)
      if (--left <= 0) for (const socket of sockets) socket.destroy()
      return result
    }) as typeof connection.query
    return connection
  }
  return {
    ...context,
    target: async (purpose) => count(await context.target(purpose)),
    connect: async (side, database, purpose) => {
      const connection = await context.connect(side, database, purpose)
      return side === 'target' ? count(connection) : connection
    },
  }
}

async function schemaOfTarget(context: DatabaseContext): Promise<string> {
  await using target = await connect(context.endpoint('target'), { database: context.database, purpose: 'compare' })
  return await schemaOf(target)
}

test('a schema that is interrupted again and again comes out as one that is not', { timeout: 180_000 }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31) + 1
  const next = random(seed)
  await createSourceDatabase(pair, 'smooth', RICH_SCHEMA + RICH_DATA)
  await createSourceDatabase(pair, 'rough', RICH_SCHEMA + RICH_DATA)
  await using smooth = await createTestMigration(pair, 'smooth', { key: 'smooth' })
  await using rough = await createTestMigration(pair, 'rough', { key: 'rough' })
  const expected = await migrateSchema(smooth.context)
  let crashes = 0
  for (;;) {
    // From early on to so late that a run gets through: the later, the more runs there were.
    const context = breaking(rough.context, 3 + Math.floor(next() * (20 + crashes * 8)))
    try {
      expect(await migrateSchema(context), `seed ${seed}`).toEqual(expected)
      break
    } catch (error) {
      if (!isTransient(error)) throw new Error(`Not an interruption (seed ${seed}).`, { cause: error })
      crashes++
    }
  }
  expect(crashes, `seed ${seed}`).toBeGreaterThan(0)
  expect(await schemaOfTarget(rough.context), `seed ${seed}`).toBe(await schemaOfTarget(smooth.context))
})

test('two copies at once make the schema once, and both say the same', async () => {
  await createSourceDatabase(pair, 'twice', RICH_SCHEMA)
  await using migration = await createTestMigration(pair, 'twice', { key: 'twice' })
  const [first, second] = await Promise.all([migrateSchema(migration.context), migrateSchema(migration.context)])
  expect(first.failed).toEqual([])
  expect(second).toEqual(first)
})
