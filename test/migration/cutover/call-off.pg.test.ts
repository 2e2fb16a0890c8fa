import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { readEvents } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { prepareCase } from './cutover-case.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const WAIT = { timeout: 60_000, interval: 20 }

/** Until the last of its processes is gone, the shared memory is in use. */
function startAgain(server: ServerPair['source']): Promise<void> {
  return vi.waitFor(() => server.start(), { timeout: 20_000, interval: 100 })
}

test('a cutover that is called off while the source is away tells that writes are still stopped, and lets them in when it is back', async () => {
  await using database = await prepareCase(pair, 'source_away')
  const reached = database.watch.stopAt('sequences', 'before')
  await database.ask()
  const first = database.start()
  await reached
  await pair.source.kill()
  database.release()
  const stopped = /being called off .*writes are still stopped on the source: .*ECONNREFUSED|terminated/s
  await vi.waitFor(async () => expect((await database.status()).message).toMatch(stopped), WAIT)
  expect(await database.status()).toMatchObject({ phase: 'CuttingOver', freeze: { previous: null } })
  await first.kill()
  database.start()
  await startAgain(pair.source)
  await database.expectCalledOff(/^The cutover was called off, and writes are let in again on the source: /)
  const { documents, key } = database.migration.context
  const told = (await readEvents(documents, key)).map(({ event }) => event)
  expect(told.filter((event) => event === 'CutoverCalledOff')).toHaveLength(1)
  expect(told).toContain('WritesStillStopped')
  await database.ask()
  await database.expectCutOver()
}, 120_000)

test('a host that finds the target away in the middle of a cutover lets writes in on the source at once', async () => {
  await using database = await prepareCase(pair, 'target_away')
  const reached = database.watch.stopAt('sequences', 'before')
  await database.ask()
  const first = database.start()
  await reached
  await first.kill()
  await pair.target.kill()
  database.release()
  database.start()
  try {
    await vi.waitFor(async () => expect((await database.status()).freeze).toBeUndefined(), WAIT)
    await database.writers.untilMore()
    expect((await database.status()).message).toMatch(/called off, and writes are let in again .*target server/)
  } finally {
    await startAgain(pair.target)
  }
  await vi.waitFor(async () => expect((await database.status()).latencySeconds).toBeDefined(), WAIT)
  await database.ask()
  await database.expectCutOver()
}, 120_000)

test('a cutover is called off when its freeze is gone by the end, although nobody has written', async () => {
  await using database = await prepareCase(pair, 'freeze_gone')
  const reached = database.watch.stopAt('check for late writes', 'before')
  await database.ask()
  database.start()
  await reached
  await database.writers.stop()
  await database.onSource('alter database freeze_gone reset default_transaction_read_only')
  database.release()
  await vi.waitFor(
    async () => expect((await database.status()).message).toMatch(/called off.*Writes are let in on the source/),
    WAIT,
  )
}, 120_000)

test.each(['sent', 'not sent'])(
  'a copy that stands still while it lets writes in (%s) does not let them in after a later cutover',
  async (sent) => {
    await using database = await prepareCase(pair, sent === 'sent' ? 'late_sent' : 'late_unsent')
    await database.onTarget('insert into counter values (99, 0)')
    const statement = sent === 'sent' ? /^alter database \S+ reset/ : /pg_terminate_backend\(pid\)[^]*'pgflex freeze'/
    await database.ask()
    const frozen = database.watch.stopAt('compare', 'before')
    const copy = database.start()
    await frozen
    const reached = database.watch.stopAtStatement('source', statement)
    database.release()
    await reached
    copy.child.kill('SIGSTOP')
    await database.onTarget(`update pgflex.lease set expires_at = now() - interval '1 s'`)
    database.start()
    await database.expectCalledOff(/differ in 1 tables/)
    await database.onTarget('delete from counter where client = 99')
    await database.ask()
    await database.expectCutOver()
    database.release()
    copy.child.kill('SIGCONT')
    await vi.waitFor(() => expect(copy.log.length).toBeGreaterThan(0), WAIT)
    await database.expectStillCutOver()
  },
  120_000,
)

test('a copy that stands still before it sets a sequence does not set it back under the application', async () => {
  await using database = await prepareCase(pair, 'late_sequence')
  const reached = database.watch.stopAtStatement('target', /setval/)
  await database.ask()
  const copy = database.start()
  await reached
  copy.child.kill('SIGSTOP')
  await database.onTarget(`update pgflex.lease set expires_at = now() - interval '1 s'`)
  database.start()
  await database.expectCutOver()
  database.release()
  copy.child.kill('SIGCONT')
  await vi.waitFor(() => expect(copy.log.length).toBeGreaterThan(0), WAIT)
  await database.expectStillCutOver()
}, 120_000)

test('a database that has been cut over has succeeded, also when it was cancelled before its end', async () => {
  await using database = await prepareCase(pair, 'too_late')
  const { context } = database.migration
  expect(await cutoverDatabase(context)).toEqual({ next: 'finished' })
  // Once more, as after a host that died before it had noted the result: nothing is told twice.
  expect(await cutoverDatabase(context)).toEqual({ next: 'finished' })
  const told = (await readEvents(context.documents, context.key)).map(({ event }) => event)
  expect(told.filter((event) => event === 'CutOver' || event === 'PointApplicationsHere')).toHaveLength(2)
  expect(await endDatabase(context, { state: 'Canceled' })).toMatchObject({ finished: true })
  await database.expectCutOver()
}, 120_000)
