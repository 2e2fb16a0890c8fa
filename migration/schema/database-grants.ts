import type { Connection } from '../connect.ts'
import { id, literal } from '../sql.ts'
import type { SchemaStatement } from './split.ts'

/**
 * The comment and the grants of the source database itself: pg_dump prints them with CREATE DATABASE only.
 * A database that has never been granted anything has the defaults on both sides.
 * https://www.postgresql.org/docs/current/ddl-priv.html
 */
export async function readDatabaseGrants(source: Connection): Promise<SchemaStatement[]> {
  const { rows: databases } = await source.query<Record<'name' | 'owner' | 'comment' | 'granted', string | null>>(
    `select datname as name, pg_get_userbyid(datdba) as owner, datacl is not null as granted,
            pg_catalog.shobj_description(oid, 'pg_database') as comment
       from pg_catalog.pg_database
      where datname = current_database()`,
  )
  const { name, owner, comment, granted } = databases[0]!
  const statement = (kind: string, sql: string): SchemaStatement => ({
    kind: `${kind} DATABASE`,
    schemaName: null,
    objectName: name,
    tableName: null,
    sql,
  })
  const database = id(name!)
  const comments =
    comment === null ? [] : [statement('COMMENT ON', `COMMENT ON DATABASE ${database} IS ${literal(comment)}`)]
  if (granted !== 't') return comments
  const { rows } = await source.query<Record<'grantor' | 'grantee' | 'grantable' | 'privileges', string | null>>(
    `select pg_get_userbyid(grantor) as grantor, case when grantee <> 0 then pg_get_userbyid(grantee) end as grantee,
            is_grantable as grantable, string_agg(privilege_type, ', ' order by privilege_type) as privileges
       from pg_catalog.pg_database, pg_catalog.aclexplode(datacl)
      where datname = current_database()
      group by grantor, grantee, is_grantable, datdba
      order by grantor <> datdba, 2, 3`,
  )
  const grants = rows.map(({ grantor, grantee, grantable, privileges }) => {
    const sql = `GRANT ${privileges} ON DATABASE ${database} TO ${grantee === null ? 'PUBLIC' : id(grantee)}${grantable === 't' ? ' WITH GRANT OPTION' : ''}`
    // To act as the role it is enough to be its member.
    return grantor === owner ? sql : `set local role ${id(grantor!)};\n${sql};\nreset role`
  })
  return [
    ...comments,
    ...[`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`, ...grants].map((sql) => statement('ACL ON', sql)),
  ]
}
