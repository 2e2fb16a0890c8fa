import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EmbeddedServer } from '../demo/embedded-postgres.ts'

/** How the programs of PostgreSQL reach a database as its superuser; the password is in a {@link passwordFile}. */
export function serverUri({ host, port, user }: EmbeddedServer, database: string): string {
  return `postgresql://${user}@${host}:${port}/${database}`
}

/**
 * Writes the passwords of some servers down for libpq, so that they are in no argument, which everybody could read.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 *
 * @returns the variable of the environment that names the file
 */
export function passwordFile(folder: string, servers: readonly EmbeddedServer[]): { PGPASSFILE: string } {
  const file = join(folder, 'pgpass')
  writeFileSync(
    file,
    servers.map(({ host, port, user, password }) => `${host}:${port}:*:${user}:${password}\n`).join(''),
  )
  chmodSync(file, 0o600)
  return { PGPASSFILE: file }
}
