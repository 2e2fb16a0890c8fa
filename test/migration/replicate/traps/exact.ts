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
