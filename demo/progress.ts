import type { DatabaseDetail, Migration } from '../migration/model/migration-resource.ts'

/** The state of a migration as a block of lines, columns aligned. */
export function progressLines(migration: Migration, elapsedSeconds: number): string[] {
  const { state, currentSubStateDetails } = migration.properties.currentStatus
  const { currentSubState, dbDetails } = currentSubStateDetails
  const head = `${clock(elapsedSeconds)}  ${state}, ${currentSubState}`
  const databases = Object.values(dbDetails)
  if (databases.length === 0) return [head]
  const rows = databases.map((database) => [
    database.databaseName,
    database.pgflex.phase,
    `${database.fullLoadCompletedTables}/${tablesOf(database)}`,
    whole(database.pgflex.progress.rowsDone),
    whole(database.appliedChanges),
    latency(database),
  ])
  return [head, ...columns([['Database', 'Phase', 'Tables', 'Rows copied', 'Changes applied', 'Latency'], ...rows], 2)]
}

/** What has changed since the last look, for a log: a line for each database that entered a phase. */
export function changeLines(previous: Migration | undefined, next: Migration, elapsedSeconds: number): string[] {
  const lines: string[] = []
  const [before, now] = [previous?.properties.currentStatus, next.properties.currentStatus]
  const sub = now.currentSubStateDetails.currentSubState
  if (before?.state !== now.state || before.currentSubStateDetails.currentSubState !== sub) {
    lines.push(`${clock(elapsedSeconds)}  ${now.state}, ${sub}`)
  }
  for (const [name, detail] of Object.entries(now.currentSubStateDetails.dbDetails)) {
    const old = before?.currentSubStateDetails.dbDetails[name]
    if (old?.pgflex.phase === detail.pgflex.phase && old.migrationState === detail.migrationState) continue
    const facts = [
      `${detail.fullLoadCompletedTables}/${tablesOf(detail)} tables`,
      `${whole(detail.pgflex.progress.rowsDone)} rows copied`,
      ...(detail.appliedChanges > 0 ? [`${whole(detail.appliedChanges)} changes applied`] : []),
    ]
    const message = detail.message === undefined ? '' : `. ${detail.message}`
    lines.push(`${clock(elapsedSeconds)}  ${name}: ${detail.pgflex.phase} (${facts.join(', ')})${message}`)
  }
  return lines
}

/** Where progress is shown. */
export interface Display {
  show(migration: Migration): void
  say(text: string): void
}

/** Shows progress on a stream: repainting on a terminal, a line for each change otherwise. */
export function startDisplay(stream: NodeJS.WriteStream): {
  show(migration: Migration): void
  say(text: string): void
} {
  const began = Date.now()
  let previous: Migration | undefined
  let painted = 0
  return {
    show(migration) {
      const seconds = (Date.now() - began) / 1000
      if (stream.isTTY) {
        const width = Math.max(20, stream.columns || 80)
        const lines = progressLines(migration, seconds).map((line) => line.slice(0, width - 1))
        stream.write(`${painted > 0 ? `\x1b[${painted}A\x1b[J` : ''}${lines.join('\n')}\n`)
        painted = lines.length
      } else for (const line of changeLines(previous, migration, seconds)) stream.write(`${line}\n`)
      previous = migration
    },
    say(text) {
      stream.write(`${text}\n`)
      painted = 0
    },
  }
}

/** Rows as lines, the first column to the left, words to the left, numbers to the right, two blanks between. */
export function columns(rows: string[][], indent = 0): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const numeric = widths.map((_, column) => rows.slice(1).every((row) => /^[-\d]/.test(row[column]!)))
  return rows.map(
    (row) =>
      ' '.repeat(indent) +
      row
        .map((cell, column) => (numeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
        .join('  ')
        .trimEnd(),
  )
}

/** A whole number with separators, the same in every locale. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** Seconds in words for a person: `0.42 s`, `12.3 s`, `2 min 5 s`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(2)} s`
  if (seconds < 120) return `${seconds.toFixed(1)} s`
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}

function clock(seconds: number): string {
  const pad = (part: number): string => String(Math.floor(part)).padStart(2, '0')
  return `${pad(seconds / 60)}:${pad(seconds % 60)}`
}

function latency({ pgflex }: DatabaseDetail): string {
  return pgflex.latencySeconds === undefined ? '-' : `${pgflex.latencySeconds.toFixed(1)} s`
}

function tablesOf(database: DatabaseDetail): number {
  return (
    database.fullLoadQueuedTables +
    database.fullLoadLoadingTables +
    database.fullLoadCompletedTables +
    database.fullLoadErroredTables
  )
}
