import { expect } from 'vitest'
import type { Following } from '../following.ts'

/** Catches up, and expects equal contents with every UPDATE and DELETE having found its row. */
export async function expectExact(following: Following): Promise<void> {
  await following.expectEqual()
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
}

/** The same query on both sides has the same answer. @returns it */
export async function expectSame(following: Following, sql: string): Promise<unknown[]> {
  await using source = await following.context.source('test')
  await using target = await following.context.target('test')
  const { rows } = await target.query<Record<string, unknown>>(sql)
  expect(rows).toEqual((await source.query(sql)).rows)
  return rows
}

/** Catches up; where the engine stops in its own words, mends the target as its administrator would, and goes on. */
export async function catchUpOrMend(following: Following, words: object, mend: string): Promise<void> {
  const error = await following.catchUp().then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (error === undefined) return
  expect(error).toMatchObject({ name: 'MigrationError', ...words })
  await using target = await following.context.target('test')
  await target.query(mend)
  await following.catchUp()
}
