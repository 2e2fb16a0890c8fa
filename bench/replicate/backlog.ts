import { APP_USER } from '../../demo/roles.ts'
import { parseLsn, type Lsn } from '../../migration/lsn.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { DATABASE } from './databases.ts'

/** Makes all calls at the same time, each in a session of the application. @returns seconds that it took */
export async function callAll(
  { source }: ServerPair,
  calls: readonly string[],
  settings: { synchronousCommit: 'on' | 'off' },
): Promise<number> {
  const began = performance.now()
  await Promise.all(
    calls.map(async (call) => {
      await using session = await source.connect(DATABASE)
      await session.query(`set role ${APP_USER}`)
      await session.query(`set synchronous_commit = ${settings.synchronousCommit}`)
      await session.query(call)
    }),
  )
  return (performance.now() - began) / 1000
}

/** Ends a backlog with a row that can be waited for. @returns an LSN after it */
export async function markEnd({ source }: ServerPair): Promise<Lsn> {
  await using session = await source.connect(DATABASE)
  await session.query('insert into bench_marker values (1, clock_timestamp())')
  const { rows } = await session.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  return parseLsn(rows[0]!.lsn)
}
