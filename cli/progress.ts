import { stripVTControlCharacters, styleText } from 'node:util'
import type { Migration } from '../migration/model/migration-resource.ts'
import { bytes, databaseRows, table } from './output.ts'

/** Shows how far a migration is, on stderr. */
export interface Progress {
  show(migration: Migration): void
}

type Terminal = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>

export function createProgress(terminal: Terminal): Progress {
  return terminal.isTTY ? repaintingBlock(terminal) : linePerChange(terminal)
}

/** Width of a bar in characters. */
const BAR = 30

function repaintingBlock(terminal: Terminal): Progress {
  let height = 0
  return {
    show(migration) {
      // A terminal that does not know its size says 0.
      const lines = block(migration).map((line) => fit(line, terminal.columns || 80))
      // Up to the first line of the last block, and clear from there.
      const back = height === 0 ? '' : `\u001b[${height}A\u001b[J`
      terminal.write(`${back}${lines.join('\n')}\n`)
      height = lines.length
    },
  }
}

/** A line that wraps would take two rows, and the next repaint would miss one. */
function fit(line: string, columns: number): string {
  return stripVTControlCharacters(line).length <= columns ? line : stripVTControlCharacters(line).slice(0, columns)
}

function block(migration: Migration): string[] {
  const { name, properties } = migration
  const { state, currentSubStateDetails, pgflex } = properties.currentStatus
  const { bytesDone, bytesTotal, estimatedEnd } = pgflex.progress
  const part = bytesTotal === 0 ? 0 : Math.min(1, bytesDone / bytesTotal)
  const bar = '█'.repeat(Math.round(part * BAR)).padEnd(BAR, '░')
  return [
    `${styleText('bold', name, { stream: process.stderr })}  ${state} / ${currentSubStateDetails.currentSubState}`,
    `${bar} ${Math.floor(part * 100)} %  ${bytes(bytesDone)} of ${bytes(bytesTotal)}${estimatedEnd === undefined ? '' : `, until ${new Date(estimatedEnd).toLocaleTimeString()}`}`,
    ...table(databaseRows(migration)).trimEnd().split('\n'),
    ...pgflex.warnings.map((warning) => styleText('yellow', `! ${warning}`, { stream: process.stderr })),
  ].filter((line) => line !== '')
}

function linePerChange(terminal: Terminal): Progress {
  let last = ''
  return {
    show(migration) {
      const line = changeLine(migration)
      if (line === last) return
      last = line
      terminal.write(`${new Date().toISOString()} ${line}\n`)
    },
  }
}

/** What a log keeps: states and whole tenths of the copy, not every byte. */
export function changeLine({ name, properties }: Migration): string {
  const { state, currentSubStateDetails, pgflex } = properties.currentStatus
  const databases = Object.values(currentSubStateDetails.dbDetails).map(
    ({ databaseName, migrationState, pgflex: own }) => {
      const { bytesDone, bytesTotal } = own.progress
      const copied =
        own.phase === 'CopyingData' && bytesTotal > 0 ? ` ${Math.floor((10 * bytesDone) / bytesTotal) * 10} %` : ''
      // Not the latency: it comes and goes, and a line for each time is noise.
      const open = (own.readiness ?? []).filter(({ check, ok }) => !ok && check !== 'latency')
      const lacks =
        own.phase === 'Following' && open.length > 0 ? ` (not ready: ${open.map(({ check }) => check).join(', ')})` : ''
      return `${databaseName} ${migrationState === 'InProgress' ? own.phase : migrationState}${copied}${lacks}`
    },
  )
  return [
    `${name}: ${state} / ${currentSubStateDetails.currentSubState}`,
    ...databases,
    ...(pgflex.warnings.length > 0 ? [`${pgflex.warnings.length} warnings`] : []),
  ].join(', ')
}
