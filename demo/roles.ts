import { randomBytes } from 'node:crypto'
import { literal } from '../migration/sql.ts'
import type { EmbeddedServer } from './embedded-postgres.ts'

/** Who migrates: ordinary roles on both sides, never superusers. */
export const SOURCE_USER = 'migrator'
export const TARGET_USER = 'target_admin'
/** Owner of the databases and tables on the source, and of the application's sessions. */
export const APP_USER = 'app'

export interface RolePasswords {
  sourcePassword: string
  targetPassword: string
  appPassword: string
}

/** Makes the roles on two fresh servers, with the privileges that a migration needs and no more. */
export async function createRoles(
  source: EmbeddedServer,
  target: EmbeddedServer,
  secret: () => string = () => randomBytes(12).toString('hex'),
): Promise<RolePasswords> {
  const passwords = { sourcePassword: secret(), targetPassword: secret(), appPassword: secret() }
  {
    await using admin = await source.connect()
    await admin.query(`create role ${APP_USER} login password ${literal(passwords.appPassword)}`)
    await admin.query(`create role ${SOURCE_USER} login replication password ${literal(passwords.sourcePassword)}`)
    await admin.query(`grant ${APP_USER} to ${SOURCE_USER}`)
  }
  {
    await using admin = await target.connect()
    await admin.query(
      `create role ${TARGET_USER} login createdb createrole password ${literal(passwords.targetPassword)}`,
    )
  }
  return passwords
}
