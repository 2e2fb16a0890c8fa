import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { id } from '../../../migration/sql.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { findUnfollowedTables } from '../../../migration/replicate/unfollowed-tables.ts'
import { readDatabaseStatus, readEvents } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

describe.each([
  [13, 17],
  [18, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('partitions and tables that are made while changes are followed are told at once, each once', async () => {
    await using following = await startFollowing(pair, 'added', {
      ddl: `create table m (at date primary key) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2025-01-01');
            create table t (id int primary key); create table keyless (v text); create unlogged table cache (id int);
            create table gone (id int primary key); create table anew (id int primary key)`,
      pgflex: { excludeTables: ['public.scratch*'] },
    })
    const { context, app } = following
    expect(await findUnfollowedTables(context)).toEqual({ added: [], dropped: [] })
    await app.query(`create table m_2 partition of m for values from ('2025-01-01') to ('2026-01-01');
      insert into m values ('2025-05-05'); create table scratch_1 (id int); create temp table temporary (id int);
      create unlogged table more_cache (id int); drop table gone; drop table anew; create table anew (id int)`)
    const unfollowed = {
      added: ['public.anew', 'public.m_2', 'public.more_cache'],
      dropped: ['public.gone'],
    }
    expect(await findUnfollowedTables(context)).toEqual(unfollowed)
    const expected = [
      expect.stringMatching(/^public\.anew is not followed/),
      expect.stringMatching(/^public\.gone is no longer on the source/),
      expect.stringMatching(/^public\.m_2 is not followed/),
      expect.stringMatching(/^public\.more_cache is not followed/),
    ]
    for (let slice = 0; slice < 2; slice++) {
      let told = 0
      const ended = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(told === 4) })
      await expect.poll(async () => (told = await toldTables(following)), { timeout: 20_000 }).toBe(4)
      expect((await ended).reason).toBe('command')
    }
    const { warnings } = await readDatabaseStatus(context.documents, context.key, 'added')
    expect(warnings.filter((warning) => TOLD.test(warning)).toSorted()).toEqual(expected)
    const events = (await readEvents(context.documents, context.key)).filter(({ message }) => TOLD.test(message))
    expect(events.map(({ message }) => message).toSorted()).toEqual(expected)
    expect(events.map(({ level }) => level)).toEqual(Array(4).fill('warning'))

    await app.query('drop table m_2, more_cache, anew')
    expect(await findUnfollowedTables(context)).toEqual({ added: [], dropped: ['public.anew', 'public.gone'] })
  })

  test('many new tables do not flood the status', async () => {
    await using following = await startFollowing(pair, 'many', { ddl: 'create table t (id int primary key)' })
    await following.app.query(
      `do $$ begin for i in 1..50 loop execute format('create table n_%s (id int primary key)', i); end loop; end $$`,
    )
    let told = 0
    const ended = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(told === 20) })
    await expect.poll(async () => (told = await toldTables(following)), { timeout: 20_000 }).toBe(20)
    await ended
    const { warnings } = await readDatabaseStatus(following.context.documents, following.context.key, 'many')
    expect(warnings.filter((warning) => warning.startsWith('More tables than are named'))).toHaveLength(1)
    expect((await findUnfollowedTables(following.context)).added).toHaveLength(50)
  })

  test.each(['publication', 'insertsPublication'] as const)(
    'without its %s a slice does not begin, and making it again does not help',
    async (which) => {
      const database = `without_${which.toLowerCase()}`
      await using following = await startFollowing(pair, database, {
        ddl: 'create table t (id int primary key); create table keyless (v text)',
      })
      const { context } = following
      const name = sourceObjects(context.key, database)[which]
      await using source = await context.source('test')
      await source.query(`drop publication ${id(name)}`)
      const missing = { code: 'PublicationMissing', retryable: false, hint: expect.stringContaining('anew') }
      const gone = expect.stringMatching(/is no longer there/)
      await expect(following.slice({ ms: 60_000 })).rejects.toMatchObject({ ...missing, message: gone })
      await source.query(`create publication ${id(name)} for table only public.t`)
      const again = expect.stringMatching(/made again/)
      await expect(following.slice({ ms: 60_000 })).rejects.toMatchObject({ ...missing, message: again })
    },
  )

  test('a migration without a table that lacks identity says when its publication is gone', async () => {
    await using following = await startFollowing(pair, 'one', { ddl: 'create table t (id int primary key)' })
    await following.app.query('insert into t values (1)')
    await following.expectEqual()
    await using source = await following.context.source('test')
    await source.query(`drop publication ${id(sourceObjects(following.context.key, 'one').publication)}`)
    await expect(following.slice({ ms: 60_000 })).rejects.toMatchObject({ code: 'PublicationMissing' })
  })

  test('a publication that is dropped in the middle of a slice is found out by that slice', async () => {
    await using following = await startFollowing(pair, 'amid', {
      ddl: 'create table t (id int primary key); create table keyless (v text)',
    })
    const { context, app } = following
    await app.query('insert into t values (1)')
    let ended = false
    const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(ended) }).then(
      () => undefined,
      (error: unknown) => error,
    )
    await expect.poll(() => following.onTarget('select count(*) from public.t'), { timeout: 20_000 }).toBe('1')
    await using source = await context.source('test')
    await source.query(`drop publication ${id(sourceObjects(context.key, 'amid').insertsPublication)}`)
    await app.query(`insert into keyless values ('lost'); insert into t values (2)`)
    // PostgreSQL 18 goes on without it, and the slice finds out at its end; older ones do not.
    const goesOn = sourceMajor >= 18
    await expect
      .poll(async () => !goesOn || (await following.onTarget('select count(*) from public.t')) === '2', {
        timeout: 20_000,
      })
      .toBe(true)
    ended = goesOn
    expect(await slice).toMatchObject({ code: 'PublicationMissing', retryable: false })
  })
})

const TOLD = /^public\.\w+ (is not followed|is no longer on the source)/

async function toldTables({ context }: Following): Promise<number> {
  const { warnings } = await readDatabaseStatus(context.documents, context.key, context.database)
  return warnings.filter((warning) => TOLD.test(warning)).length
}
