#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { styleText } from 'node:util'
import { Command, CommanderError } from 'commander'
import { addCancel } from './cancel.ts'
import { addCheckNameAvailability } from './check-name-availability.ts'
import { CliError, EXIT } from './cli-error.ts'
import { addCreate } from './create.ts'
import { addCutover } from './cutover.ts'
import { addDelete } from './delete.ts'
import { addEvents } from './events.ts'
import { addList } from './list.ts'
import { addReport } from './report.ts'
import { addShow } from './show.ts'
import { addTables } from './tables.ts'
import { addUpdate } from './update.ts'
import { addFallback } from './fallback.ts'
import { addVerify } from './verify.ts'
import { addWait } from './wait.ts'
import { addWatch } from './watch.ts'

/** The command `pgflex`. */
function program(): Command {
  const pgflex = new Command('pgflex')
    .description(
      'Moves PostgreSQL databases to Azure Database for PostgreSQL flexible server while the application keeps running.',
    )
    .version(version())
    .exitOverride()
  const migration = pgflex.command('migration').description('create, watch and cut over migrations')
  for (const add of [
    addCreate,
    addShow,
    addList,
    addUpdate,
    addDelete,
    addCheckNameAvailability,
    addWatch,
    addWait,
    addCutover,
    addCancel,
    addTables,
    addEvents,
    addReport,
    addVerify,
    addFallback,
  ]) {
    add(migration)
  }
  return pgflex
}

function version(folder = import.meta.dirname): string {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version
  } catch {
    return version(dirname(folder))
  }
}

// The reader of a pipe may have enough: head, or a pager that is closed.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  await program().parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

/** @returns the exit code */
function report(error: unknown): number {
  // commander has written help, version or what is wrong already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const { message, stack } = error as Error
  const hint = error instanceof CliError ? error.hint : undefined
  process.stderr.write(
    `${styleText('red', 'error:', { stream: process.stderr })} ${message}\n${hint === undefined ? '' : `${hint}\n`}`,
  )
  if (process.argv.includes('--debug')) process.stderr.write(`${stack}\n`)
  return error instanceof CliError ? error.exitCode : EXIT.failed
}
