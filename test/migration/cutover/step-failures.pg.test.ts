import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { readEvents } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { prepareCase, type CutoverCase } from './cutover-case.ts'
import { STEPS } from './step-watch.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** How a step fails, and goes on failing until it is mended. */
interface Failure {
  /** The step before which it is broken; default: the one that fails. */
  before?: string
  spoil: (database: CutoverCase) => Promise<unknown>
  /** Nothing where following again mends it. */
  mend?: (database: CutoverCase) => Promise<unknown>
  told: RegExp
  /** Where following stops as well until it is mended. */
  stopsFollowing?: boolean
}

const FAILURES: Record<string, Failure> = {
  'check objects': {
    // Something else has the name of an index that could not be built.
    spoil: (database) =>
      database.onTarget(`drop index audit_client; create table audit_client ();
        update pgflex.statement set state = 'failed' where object_name = 'audit_client'`),
    mend: (database) => database.onTarget('drop table audit_client'),
    told: /INDEX audit_client on public\.audit: .*already exists/,
  },
  'catch up': {
    spoil: async (database) => {
      await database.onTarget('revoke insert on sold from target_admin')
      await database.onSource(`set role app; insert into sold values (nextval('ticket'), 0)`)
    },
    mend: (database) => database.onTarget('grant insert on sold to target_admin'),
    told: /permission denied for table sold/,
    stopsFollowing: true,
  },
  'freeze writes': {
    spoil: (database) =>
      database.onSource(`alter role app in database ${database.database} set default_transaction_read_only = off`),
    mend: (database) =>
      database.onSource(`alter role app in database ${database.database} reset default_transaction_read_only`),
    told: /Writes on the source would still be let in: role app has its own setting/,
  },
  'take LSN': {
    spoil: (database) =>
      database.onSource('revoke execute on function pg_logical_emit_message(boolean, text, text) from public'),
    mend: (database) =>
      database.onSource('grant execute on function pg_logical_emit_message(boolean, text, text) to public'),
    told: /permission denied for function pg_logical_emit_message/,
  },
  'check tables': {
    spoil: (database) =>
      database.onSource(`set role app; create table late (id int primary key); insert into late values (1)`),
    told: /made after the migration began, and are not on the target: public\.late/,
  },
  drain: {
    before: 'take LSN',
    spoil: async (database) => {
      await database.onTarget('revoke insert on sold from target_admin')
      await database.onSource(`set role app; insert into sold values (nextval('ticket'), 0)`)
    },
    mend: (database) => database.onTarget('grant insert on sold to target_admin'),
    told: /permission denied for table sold/,
    stopsFollowing: true,
  },
  'unfollowed tables': {
    spoil: (database) => database.onTarget('alter table receipt add constraint nothing check (false) not valid'),
    mend: (database) => database.onTarget('alter table receipt drop constraint nothing'),
    told: /violates check constraint "nothing"/,
  },
  'large objects': {
    spoil: (database) => database.onSource(`select lo_from_bytea(7, 'x')`),
    mend: (database) => database.onSource('select lo_unlink(7)'),
    told: /may not read large object 7/,
  },
  'extension tables': {
    spoil: (database) => database.onSource('revoke select on pg_catalog.pg_extension from public'),
    mend: (database) => database.onSource('grant select on pg_catalog.pg_extension to public'),
    told: /permission denied for table pg_extension/,
  },
  sequences: {
    spoil: (database) => database.onTarget('alter sequence ticket owner to postgres'),
    mend: (database) => database.onTarget('alter sequence ticket owner to target_admin'),
    told: /permission denied for sequence ticket/,
  },
  compare: {
    spoil: (database) => database.onTarget('insert into counter values (99, 0)'),
    mend: (database) => database.onTarget('delete from counter where client = 99'),
    told: /Source and target differ in 1 tables: public\.counter/,
  },
  'check for late writes': {
    spoil: (database) => database.onSource(`set role app; insert into sold values (nextval('ticket'), 0)`),
    told: /1 rows were changed on the source after its writes were meant to have stopped/,
  },
}

/** After the comparison there is only forwards. */
const FORWARDS: Record<string, Failure> = {
  'triggers and constraints': {
    spoil: (database) => database.onTarget('alter table entry owner to postgres'),
    mend: (database) => database.onTarget('alter table entry owner to target_admin'),
    told: /must be owner of table entry/,
  },
}

/** Stops the cutover before a step, and lets it go on when that is spoiled. */
async function spoil(database: CutoverCase, step: string, { before = step, spoil: break_ }: Failure): Promise<void> {
  const reached = database.watch.stopAt(before, 'before')
  await database.ask()
  await vi.waitFor(() => Promise.race([reached, Promise.reject(new Error(`It does not come to "${before}".`))]), {
    timeout: 60_000,
    interval: 20,
  })
  await break_(database)
  database.release()
}

async function eventsOf({ migration: { context } }: CutoverCase, name: string): Promise<string[]> {
  const events = await readEvents(context.documents, context.key)
  return events.filter(({ event }) => event === name).map(({ message }) => message)
}

async function expectCalledOff(database: CutoverCase, { told }: Failure): Promise<void> {
  await database.expectCalledOff(told)
}

/** Called off, and what failed the step hinders the following as well. */
async function expectStopped(database: CutoverCase, { told }: Failure): Promise<void> {
  await vi.waitFor(
    async () =>
      expect(await database.status()).toMatchObject({
        message: expect.stringMatching(told),
        migrationState: 'WaitingForCutoverTrigger',
      }),
    { timeout: 60_000, interval: 20 },
  )
  expect((await database.status()).freeze).toBeUndefined()
  await database.writers.untilMore()
}

test('a step that fails calls the cutover off, whichever it is, and the next one succeeds when it is mended', async () => {
  await using database = await prepareCase(pair, 'failing')
  const host = database.start()
  for (const [step, failure] of Object.entries(FAILURES)) {
    await spoil(database, step, failure)
    await (failure.stopsFollowing === true ? expectStopped : expectCalledOff)(database, failure)
    await failure.mend?.(database)
    expect((await eventsOf(database, 'CutoverCalledOff')).at(-1)).toMatch(failure.told)
    expect((await database.status()).migrationState).toBe('WaitingForCutoverTrigger')
  }
  for (const [step, failure] of Object.entries(FORWARDS)) {
    await spoil(database, step, failure)
    await vi.waitFor(async () => expect((await database.status()).message).toMatch(failure.told), { timeout: 30_000 })
    await vi.waitFor(() => expect(host.log.filter((line) => failure.told.test(line)).length).toBeGreaterThan(2), {
      timeout: 30_000,
    })
    // Told once, however often it is tried.
    expect(await eventsOf(database, 'CutoverHeldUp')).toEqual([expect.stringMatching(failure.told)])
    expect((await database.status()).cutover?.decidedAt).toBeDefined()
    await failure.mend!(database)
  }
  await database.expectCutOver()
  // A step that is new fails this test until it has a failure of its own.
  expect([...Object.keys(FAILURES), ...Object.keys(FORWARDS)]).toEqual(STEPS)
  expect([...database.watch.statements.keys()].toSorted()).toEqual(STEPS.toSorted())
}, 300_000)

/** One that only goes forwards is no longer cancelled: see call-off.pg.test.ts. */
const CANCELLED = process.env['PGFLEX_CUTOVER_STEPS'] === undefined ? ['compare'] : Object.keys(FAILURES)

test.each(CANCELLED)(
  'a database that is cancelled in the step "%s" of its cutover is writable on the source',
  async (step) => {
    await using database = await prepareCase(pair, `cancelled_${CANCELLED.indexOf(step)}`)
    const reached = database.watch.stopAt(step, 'unrecorded')
    await database.ask()
    const host = database.start()
    await reached
    await database.ask('cancel')
    // It is noticed while the step is under way.
    await vi.waitFor(() => expect(host.log).toContain('cancelled'), { timeout: 30_000, interval: 20 })
    database.release()
    await vi.waitFor(
      async () => expect(await database.status()).toMatchObject({ phase: 'Ended', migrationState: 'Canceled' }),
      { timeout: 60_000, interval: 20 },
    )
    await database.writers.untilMore()
    expect(host.log).not.toContain('cutover: finished')
    expect(await database.onSource('select from pg_replication_slots where database = current_database()')).toEqual([])
  },
  120_000,
)
