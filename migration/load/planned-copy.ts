import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { copyFormat, serverFacts, type CopyFormat } from './copy-format.ts'
import { rangeMethod, type RangeMethod } from './table-range.ts'
import { listTables, type SourceTable, type TableName } from './tables.ts'

/** A table that is to be copied, as both servers describe it now. */
export interface PlannedCopy {
  table: SourceTable
  format: CopyFormat
  /** How it can be cut into ranges; undefined: it is read in one stream. */
  method: RangeMethod | undefined
}

/** Looks up what tables are made of, on both sides; those that the source does not have are left out. */
export async function planCopies(
  context: DatabaseContext,
  control: Connection,
  names: readonly TableName[],
): Promise<PlannedCopy[]> {
  const everything = (): boolean => true
  await using source = await context.source('copy plan')
  const tables = await listTables(source, everything, names)
  const targetTables = new Map((await listTables(control, everything, names)).map((table) => [keyOf(table), table]))
  const [sourceServer, targetServer] = [await serverFacts(source), await serverFacts(control)]
  return tables.map((table) => ({
    table,
    format: copyFormat(table, targetTables.get(keyOf(table)), sourceServer, targetServer),
    method: rangeMethod(table, sourceServer.major),
  }))
}

/** One text for the two names of a table, as a key of a map. */
export const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])
