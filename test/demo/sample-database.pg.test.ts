import { expect, test } from 'vitest'
import { compareDatabases } from '../../demo/compare.ts'
import { createRoles } from '../../demo/roles.ts'
import { SAMPLE_DATABASES } from '../../demo/sample-database.ts'
import { createSource, startServers } from '../../demo/sample-servers.ts'

test('the samples are built by an ordinary owner on 13 and on 18, with the same rows on both', async () => {
  await using servers = await startServers({ sourceMajor: 13, targetMajor: 18 })
  const { source, target } = servers
  const passwords = await createRoles(source, target)
  {
    await using admin = await target.connect()
    await admin.query(`create role app login password '${passwords.appPassword}'`)
  }
  await createSource(source, passwords)
  await createSource(target, passwords)
  for (const database of SAMPLE_DATABASES) {
    await using ours = await source.connect(database)
    await using theirs = await target.connect(database)
    const comparison = await compareDatabases(ours, theirs)
    expect(comparison.differences).toEqual([])
    expect(comparison.tables).toBeGreaterThanOrEqual(20)
    expect(comparison.rows).toBeGreaterThan(10_000)
    expect(comparison.rows).toBeLessThan(60_000)
    const { rows } = await ours.query<{ owner: string; superuser: boolean }>(`
      select distinct r.rolname as owner, r.rolsuper as superuser
        from pg_class c join pg_roles r on r.oid = c.relowner
       where c.relnamespace not in (select oid from pg_namespace where nspname ~ '^pg_|^information_schema$')`)
    expect(rows).toEqual([{ owner: 'app', superuser: false }])
  }
})
