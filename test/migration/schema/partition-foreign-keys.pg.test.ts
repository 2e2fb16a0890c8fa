import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyPostData, planPostData } from '../../../migration/schema/apply-post-data.ts'
import { applyPreData } from '../../../migration/schema/apply-pre-data.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { validateForeignKeys } from '../../../migration/schema/validate-foreign-keys.ts'
import {
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

const TABLES = `
  create table parent (id int primary key);
  create table wide (id int primary key) partition by range (id);
  create table wide_1 partition of wide for values from (0) to (1000);
  create table child (id int, parent int) partition by range (id);
  create table child_1 partition of child for values from (0) to (100);
  create table child_2 partition of child for values from (100) to (200) partition by range (id);
  create table child_21 partition of child_2 for values from (100) to (200);
  alter table child add constraint to_parent foreign key (parent) references parent on delete cascade deferrable;
  alter table child add constraint to_wide foreign key (parent) references wide;
  comment on constraint to_parent on child is 'Told'`

describe.each([
  [13, 17],
  [15, 18],
])('from PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  /** Up to the cutover, with rows of the target in place of copied ones. */
  async function cutOver(database: string, rows: string): Promise<TestMigration> {
    await createSourceDatabase(pair, database, TABLES)
    const migration = await createTestMigration(pair, database, { key: `m-${database}` })
    await createTargetDatabase(migration.context)
    await applyPreData(migration.context)
    await planPostData(migration.context)
    await using admin = await pair.target.connect(database)
    await admin.query(rows)
    expect(await applyPostData(migration.context, 'load')).toMatchObject({ failed: [] })
    expect(await applyPostData(migration.context, 'cutover')).toMatchObject({ failed: [] })
    return migration
  }

  /** Keys by table; those with a parent are parts of its key. */
  const KEYS = `select conrelid::regclass::text as "table", conname as name, convalidated as valid,
                       conparentid <> 0 as part, pg_get_constraintdef(oid) as definition
                  from pg_constraint
                 where contype = 'f' and conrelid::regclass::text like 'child%' and conname in ('to_parent', 'to_wide')
                 order by 1, 2`

  test('keys of a partitioned table check new rows from the cutover on, and all rows after it', async () => {
    await using migration = await cutOver(
      'kept',
      `insert into parent values (1), (2); insert into wide values (1), (2); insert into child values (1, 1), (101, 1)`,
    )
    await using target = await pair.target.connect('kept')
    await expect(target.query('insert into child values (2, 3)')).rejects.toThrow(/violates foreign key/)
    await expect(target.query('insert into child values (102, 3)')).rejects.toThrow(/violates foreign key/)
    expect((await target.query(`${KEYS} limit 1`)).rows[0]).toMatchObject({ valid: false })
    expect(await validateForeignKeys(migration.context)).toMatchObject({ failed: [] })
    await using source = await pair.source.connect('kept')
    expect((await target.query(KEYS)).rows).toEqual((await source.query(KEYS)).rows)
    const { rows } = await target.query(
      `select obj_description(oid, 'pg_constraint') as comment from pg_constraint
        where conrelid = 'child'::regclass and conname = 'to_parent'`,
    )
    expect(rows).toEqual([{ comment: 'Told' }])
    await target.query('delete from wide where id = 2; delete from child where id = 1')
    await expect(target.query('delete from wide where id = 1')).rejects.toThrow(/violates foreign key/)
    await target.query('delete from child; insert into child values (1, 1); delete from parent where id = 1')
    expect((await target.query('select from child')).rowCount).toBe(0)
  })

  test('a row that does not keep to it is told, and the key of the whole table waits for the user', async () => {
    await using migration = await cutOver(
      'broken',
      `insert into parent values (1); insert into wide values (1), (5); insert into child values (1, 1), (101, 5)`,
    )
    const { failed } = await validateForeignKeys(migration.context)
    const messages = failed.map(({ message }) => message)
    expect(messages).toContainEqual(expect.stringMatching(/"child(_21)?" violates foreign key constraint "to_parent"/))
    // Without a look at the rows, which would keep writers out.
    const ofAll = messages.filter((message) => message.startsWith('not all of its partitions keep to it'))
    expect(ofAll.length).toBe(targetMajor < 18 ? 1 : 0)
    await using target = await pair.target.connect('broken')
    const { rows } = await target.query<{ table: string; name: string; valid: boolean }>(KEYS)
    expect(rows.filter(({ name, valid }) => name === 'to_wide' && valid).length).toBe(4)
    expect(rows.filter(({ table, name, valid }) => table === 'child' && name === 'to_parent' && valid)).toEqual([])
  })
})
