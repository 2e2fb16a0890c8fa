import { literal } from '../../migration/sql.ts'
import { SOURCE_USER, type ServerPair } from '../../test/support/servers.ts'
import type { Applier } from './applier.ts'
import { DATABASE, NATIVE_DATABASE } from './databases.ts'

const NAME = 'bench_native'

/** Whether the native subscriber waits until its commits are on the disk; `off` is its default. */
export type NativeCommit = 'on' | 'off'

/**
 * PostgreSQL's own subscriber with its default settings but the given one; from PostgreSQL 18 on that means
 * parallel apply of large transactions.
 *
 * @param publications those of pgflex, so that both get the same messages
 */
export async function createNativeApplier(
  pair: ServerPair,
  publications: string[],
  commit: NativeCommit,
): Promise<Applier> {
  const { source, target, sourcePassword } = pair
  {
    await using client = await source.connect(DATABASE)
    await client.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [NAME])
  }
  const database = await target.connect(NATIVE_DATABASE)
  const connection = `host=${source.host} port=${source.port} dbname=${DATABASE} user=${SOURCE_USER} password=${sourcePassword}`
  await database.query(
    `create subscription ${NAME} connection ${literal(connection)} publication ${publications.join(', ')}
       with (copy_data = false, create_slot = false, slot_name = ${NAME}, enabled = false,
             synchronous_commit = ${commit})`,
  )
  const worker = `select pid from pg_stat_subscription where subname = '${NAME}' and pid is not null`
  return {
    name: 'native',
    database: NATIVE_DATABASE,
    async begin() {
      await database.query(`alter subscription ${NAME} enable`)
    },
    async check() {
      if (target.major < 15) return
      const { rows } = await database.query<{ errors: string }>(
        `select apply_error_count as errors from pg_stat_subscription_stats where subname = '${NAME}'`,
      )
      if (Number(rows[0]?.errors ?? 0) > 0) throw new Error('The worker of the native subscription has failed.')
    },
    async end() {
      await database.query(`alter subscription ${NAME} disable`)
      while ((await database.query(worker)).rows.length > 0) await new Promise((resolve) => setTimeout(resolve, 20))
      return undefined
    },
    async remove() {
      await database.query(`alter subscription ${NAME} set (slot_name = none)`)
      await database.query(`drop subscription ${NAME}`)
      await using client = await source.connect(DATABASE)
      await client.query('select pg_drop_replication_slot($1)', [NAME])
    },
    async [Symbol.asyncDispose]() {
      await database.end().catch(() => {})
    },
  }
}
