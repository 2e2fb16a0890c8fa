import { afterAll, beforeAll, expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'
import { startSliceProcess } from './slice-process.ts'
import { random } from './workload.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text); create table u (id int primary key)'

test('a process that is killed while it alters a table leaves nothing half done', async () => {
  await using following = await startFollowing(pair, 'killed_altering', { ddl: DDL })
  await following.app.query(`insert into t values (1, 'one')`)
  await following.catchUp()
  await following.app.query(
    `begin; insert into t values (2, 'two'); insert into u values (1); alter table t add x int default 7; update t set x = 8 where id = 2; commit`,
  )
  await using blocker = await pair.target.connect('killed_altering')
  await blocker.query('begin; lock table t in access share mode')
  {
    await using killed = startSliceProcess(following.migration, { ms: 120_000 })
    await waitsForLock(following)
    killed.child.kill('SIGKILL')
    await killed.outcome
  }
  await blocker.query('rollback')
  expect(await columns(following)).toBe('id v')
  await following.expectEqual()
  expect(await columns(following)).toBe('id v x')
  expect(await following.onTarget("select concat_ws(' ', inserts, updates, missed) from pgflex.progress")).toBe('3 1 0')
})

test('a process that is frozen while it alters a table is replaced, and does nothing more when it wakes', async () => {
  await using following = await startFollowing(pair, 'frozen_altering', { ddl: DDL })
  await following.app.query(`insert into t values (1, 'one')`)
  await following.catchUp()
  await following.app.query(`alter table t add x int default 7, drop v; insert into t values (2, 9)`)
  await using blocker = await pair.target.connect('frozen_altering')
  await blocker.query('begin; lock table t in access share mode')
  await using frozen = startSliceProcess(following.migration, { ms: 120_000 })
  await waitsForLock(following)
  frozen.child.kill('SIGSTOP')
  await blocker.query(`rollback; update pgflex.lease set expires_at = now() - interval '1 s' where name = 'replicate'`)
  await following.expectEqual()
  await following.app.query(`alter table t add y int default 1; insert into t values (3, 9, 2)`)
  await following.expectEqual()
  frozen.child.kill('SIGCONT')
  expect(await frozen.outcome).toHaveProperty('error')
  await following.expectEqual()
  expect(await columns(following)).toBe('id x y')
  expect(await following.onTarget("select concat_ws(' ', inserts, missed) from pgflex.progress")).toBe('3 0')
})

test('killed at random moments, changes of rows and of columns all arrive', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  process.stderr.write(`schema change seed ${seed}\n`)
  const next = random(seed)
  await using following = await startFollowing(pair, 'random', {
    ddl: 'create table t (id int primary key, n int, w varchar(10)); create table u (id int primary key, n int)',
  })
  const { app } = following
  let working = true
  const work = (async () => {
    const types = [
      'int default 5',
      `text default 'a ''b'''`,
      'boolean',
      'numeric(8,2) default 1.50',
      'date',
      'uuid',
      `bytea default '\\x00ff'`,
    ]
    const added: string[] = []
    let width = 10
    for (let i = 1; i <= 150; i++) {
      const change = (): string => {
        switch (next(8)) {
          case 0:
            added.push(`c${i}`)
            return `alter table t add c${i} ${types[i % types.length]}`
          case 1:
            return added.length > 2 ? `alter table t drop ${added.shift()}` : 'update u set n = 0'
          case 2:
            return `alter table t alter w type varchar(${++width})`
          case 3:
            return `delete from t where id % 7 = ${next(7)}`
          default:
            return `update t set n = n + 1, w = 'w${i}' where id % 5 = ${next(5)}`
        }
      }
      await app.query(`begin; insert into t (id, n, w) values (${i}, 1, 'w'); insert into u values (${i}, ${i}); ${change()};
        insert into t (id, n) values (${1000 + i}, ${i}); update t set n = n + 1 where id = ${i}; commit`)
      await sleep(next(30))
    }
    working = false
  })()
  let killed = 0
  while (working) {
    await using slice = startSliceProcess(following.migration, { ms: 120_000 })
    const before = await following.onTarget('select applied_lsn from pgflex.progress')
    await expect
      .poll(async () => !working || (await following.onTarget('select applied_lsn from pgflex.progress')) !== before, {
        timeout: 30_000,
      })
      .toBe(true)
    await sleep(next(150))
    slice.child.kill('SIGKILL')
    await slice.outcome
    killed++
  }
  await work
  expect(killed).toBeGreaterThan(0)
  await following.expectEqual()
  expect(await following.onTarget("select concat_ws(' ', inserts, missed) from pgflex.progress")).toBe('450 0')
})

async function waitsForLock(following: Following): Promise<void> {
  await expect
    .poll(
      () =>
        following.onTarget(
          `select count(*) from pg_stat_activity where application_name = 'pgflex apply' and wait_event_type = 'Lock' and query like 'alter table%'`,
        ),
      { timeout: 30_000 },
    )
    .toBe('1')
}

async function columns(following: Following): Promise<string | null> {
  return await following.onTarget(`select string_agg(attname, ' ' order by attnum) from pg_attribute
    where attrelid = 'public.t'::regclass and attnum > 0 and not attisdropped`)
}
