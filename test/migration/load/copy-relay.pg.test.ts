import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { relayCopies } from '../../../migration/load/copy-relay.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('memory grows neither with the size of a row nor with that of a table', async () => {
  await using migration = await createLoadDatabase(pair, 'wide', {
    ddl: 'create table public.wide (id int, body text); create table public.many (id int, body text)',
    data: `insert into public.wide values (1, repeat('x', 250000000)), (2, 'y');
      insert into public.many select i, repeat('z', 1000) from generate_series(1, 60000) i`,
  })
  await planLoad(migration.context)
  const { stdout } = await promisify(execFile)(process.execPath, [
    fileURLToPath(new URL('copy-process.ts', import.meta.url)),
    migration.folder,
    migration.context.key,
    'wide',
  ])
  const { maxRSS, ...result } = JSON.parse(stdout) as { maxRSS: number }
  expect(result).toEqual({ copied: 2, errored: 0, remaining: 0 })
  expect(maxRSS / 1024).toBeLessThan(300)
  await using target = await migration.context.target('test')
  const { rows } = await target.query('select id, length(body) as length from public.wide order by id')
  expect(rows).toEqual([
    { id: '1', length: '250000000' },
    { id: '2', length: '1' },
  ])
})

test('several copies pass in one query, and the sessions go on after it', async () => {
  await using migration = await createLoadDatabase(pair, 'several', {
    ddl: 'create table public.a (id int); create table public.b (id int, t text); create table public.c ()',
    data: `insert into public.a select generate_series(1, 1000); insert into public.c default values;
      insert into public.c default values`,
  })
  await using reader = await migration.context.source('test')
  await using writer = await migration.context.target('test')
  let bytes = 0
  const relay = {
    read: ['a', 'b', 'c', 'a'].map((name) => `copy public.${name} to stdout`).join(';'),
    write: ['a', 'b', 'c', 'a'].map((name) => `copy public.${name} from stdin`).join(';'),
    onBytes: (length: number) => {
      bytes += length
      return 1
    },
  }
  expect(await relayCopies({ reader, writer }, relay)).toEqual({
    sent: [1000, 0, 2, 1000],
    written: [1000, 0, 2, 1000],
  })
  expect(bytes).toBe(2 * 3893 + 2)
  expect((await reader.query('select 1 as one')).rows).toEqual([{ one: '1' }])
  expect((await writer.query('select count(*) from public.a')).rows).toEqual([{ count: '2000' }])
})

test('an error says on which side it was and in which copy, and the other side can be used again', async () => {
  await using migration = await createLoadDatabase(pair, 'errors', {
    ddl: 'create table public.a (id int); create table public.b (id int)',
    data: `insert into public.a select generate_series(1, 200000); insert into public.b select generate_series(1, 200000)`,
  })
  await using reader = await migration.context.source('test')
  await using writer = await migration.context.target('test')
  const onBytes = (): void => {}
  await writer.query('alter table public.b add check (id < 100)')
  const refused = relayCopies(
    { reader, writer },
    {
      read: 'copy public.a to stdout; copy public.b to stdout',
      write: 'copy public.a from stdin; copy public.b from stdin',
      onBytes,
    },
  )
  await expect(refused).rejects.toMatchObject({ side: 'target', completed: 1, cause: { code: '23514' } })
  expect((await reader.query('select 1 as one')).rows).toEqual([{ one: '1' }])
  expect((await writer.query('select count(*) from public.a')).rows).toEqual([{ count: '0' }])

  const missing = relayCopies(
    { reader, writer },
    { read: 'copy public.a to stdout; copy public.gone to stdout', write: 'copy public.a from stdin', onBytes },
  )
  await expect(missing).rejects.toMatchObject({ side: 'source', completed: 1, cause: { code: '42P01' } })
  expect((await reader.query('select 1 as one')).rows).toEqual([{ one: '1' }])
})
