import type { Migration, PgflexStatus } from '../migration/model/migration-resource.ts'

export const OUTPUTS = ['json', 'table', 'tsv', 'none'] as const
export type Output = (typeof OUTPUTS)[number]

/** Rows for people, in the order of their columns. */
export type Rows = Record<string, string | number | undefined>[]

/** A result as text: the value itself as JSON, or the rows made of it. */
export function render(output: Output, value: unknown, tables: () => Rows[]): string {
  switch (output) {
    case 'json':
      return `${JSON.stringify(value, null, 2)}\n`
    case 'table':
      return tables()
        .filter((rows) => rows.length > 0)
        .map(table)
        .join('\n')
    case 'tsv':
      return tsv(tables()[0] ?? [])
    case 'none':
      return ''
  }
}

/** As az prints them: a header, dashes, two spaces between columns, no boxes. */
export function table(rows: Rows): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cells = rows.map((row) => columns.map((column) => oneLine(row[column])))
  const widths = columns.map((column, index) => Math.max(column.length, ...cells.map((row) => row[index]!.length)))
  const line = (texts: string[]): string =>
    texts
      .map((text, index) => text.padEnd(widths[index]!))
      .join('  ')
      .trimEnd()
  return [line(columns), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)]
    .map((text) => `${text}\n`)
    .join('')
}

function tsv(rows: Rows): string {
  return rows.map((row) => `${Object.values(row).map(oneLine).join('\t')}\n`).join('')
}

/** A line break or a tab inside a value would look like another row or column; other control characters move the cursor. */
function oneLine(value: string | number | undefined): string {
  // oxlint-disable-next-line no-control-regex
  return String(value ?? '').replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
}

export function migrationRows(migrations: Migration[]): Rows {
  return migrations.map(({ name, properties }) => ({
    Name: name,
    Mode: properties.migrationMode,
    State: properties.currentStatus.state,
    Substate: properties.currentStatus.currentSubStateDetails.currentSubState,
    Started: properties.migrationWindowStartTimeInUtc.slice(0, 16).replace('T', ' '),
  }))
}

export function databaseRows({ properties }: Migration): Rows {
  return Object.values(properties.currentStatus.currentSubStateDetails.dbDetails).map((database) => {
    const { pgflex } = database
    const done = database.fullLoadCompletedTables
    const all = done + database.fullLoadQueuedTables + database.fullLoadLoadingTables + database.fullLoadErroredTables
    return {
      Database: database.databaseName,
      State: database.migrationState,
      Phase: pgflex.phase,
      Tables: `${done}/${all}`,
      Copied: bytes(pgflex.progress.bytesDone),
      Applied: database.appliedChanges,
      Latency: pgflex.latencySeconds === undefined ? '-' : `${round(pgflex.latencySeconds)} s`,
      Lag: pgflex.lagBytes === undefined ? '-' : bytes(pgflex.lagBytes),
      Ready: ready(pgflex),
      Message: database.message,
    }
  })
}

/** What must hold before cutover, and whether it does. */
export function readinessRows({ properties }: Migration): Rows {
  return Object.values(properties.currentStatus.currentSubStateDetails.dbDetails).flatMap(({ databaseName, pgflex }) =>
    (pgflex.readiness ?? []).map(({ check, ok, message }) => ({
      Database: databaseName,
      Check: check,
      Ready: ok ? 'yes' : 'no',
      Why: message,
    })),
  )
}

/** How many of the things that must hold before cutover do; `show -o table` lists them. */
function ready({ readiness }: PgflexStatus): string {
  return readiness === undefined ? '-' : `${readiness.filter(({ ok }) => ok).length}/${readiness.length}`
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [count, 0]
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${unit === 0 ? value : round(value)} ${units[unit]!}`
}

function round(value: number): string {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1)
}

/** Rows of any list of flat objects: one column for each key. */
export function anyRows(values: Record<string, unknown>[]): Rows {
  return values.map((value) =>
    Object.fromEntries(
      Object.entries(value).map(([key, one]) => [
        key,
        typeof one === 'number' || typeof one === 'string'
          ? one
          : one === undefined || one === null
            ? undefined
            : JSON.stringify(one),
      ]),
    ),
  )
}
