import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isTransient } from '../../../migration/errors.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'
import { random, runWorkload, WORKLOAD_DDL } from './workload.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

/** Counters move in the transaction that applies: what was lost or done twice shows in them, and in the rows. */
async function counters(following: Following): Promise<string | null> {
  return following.onTarget(
    `select concat_ws(' ', inserts + updates + deletes, transactions, missed) from pgflex.progress`,
  )
}

describe.each([
  [13, 17],
  [15, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test(`random transactions of several clients leave the same contents (seed ${SEED})`, async () => {
    await using following = await startFollowing(pair, 'random', { ddl: WORKLOAD_DDL })
    let working = true
    const workload = runWorkload(pair, 'random', { seed: SEED, clients: 4, transactions: 250 }).finally(() => {
      working = false
    })
    while (working) await following.slice({ ms: 300 })
    const { changes, transactions } = await workload
    await following.expectEqual()
    expect(await counters(following)).toBe(`${changes} ${transactions} 0`)
  })

  test(`sessions that are killed and leases that are lost at any moment lose nothing and double nothing (seed ${SEED})`, async () => {
    await using following = await startFollowing(pair, 'killed', { ddl: WORKLOAD_DDL })
    await using source = await pair.source.connect('killed')
    await using target = await pair.target.connect('killed')
    let working = true
    const workload = runWorkload(pair, 'killed', { seed: SEED + 1, clients: 3, transactions: 300 }).finally(() => {
      working = false
    })
    const next = random(SEED)
    let kills = 0
    const killing = (async () => {
      while (working) {
        await new Promise((resolve) => setTimeout(resolve, next(150)))
        const kill = [
          () =>
            target.query(
              `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgflex apply'`,
            ),
          () =>
            source.query(
              `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgflex follow'`,
            ),
          () =>
            target.query(
              `update pgflex.lease set fence = fence + 1, expires_at = '-infinity' where name = 'replicate'`,
            ),
        ][next(3)]!
        kills += (await kill()).rowCount ?? 0
      }
    })()
    const failures: string[] = []
    while (working) {
      try {
        await following.slice({ ms: 2_000 })
      } catch (error) {
        if (!isTransient(error)) throw error
        failures.push(String(error))
      }
    }
    const { changes, transactions } = await workload
    await killing
    expect(kills).toBeGreaterThan(5)
    expect(failures.length).toBeGreaterThan(2)
    await following.expectEqual()
    expect(await counters(following)).toBe(`${changes} ${transactions} 0`)
  })
})
