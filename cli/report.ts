import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Migration } from '../migration/model/migration-resource.ts'
import { CliError, EXIT } from './cli-error.ts'
import { databaseRows, migrationRows } from './output.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name: string
  file?: string
}

export function addReport(migration: Command): void {
  verbWithName(migration, 'report', 'write the report: a page of HTML, or JSON with -o json')
    .option('-f, --file <file>', 'write it there (default: to stdout)')
    .action(async (options: Options, command: Command) => {
      const { client, note, print } = session(options)
      // Of this verb the page is the result, unless a format is asked for.
      const isPage = command.getOptionValueSource('output') === 'default'
      const text = await client.report(options.name, isPage ? 'html' : 'json')
      if (options.file !== undefined) {
        write(options.file, isPage ? text : `${JSON.stringify(JSON.parse(text), null, 2)}\n`)
        note(`The report of ${options.name} is in ${options.file}.`)
      } else if (isPage) {
        process.stdout.write(text)
      } else {
        const report = JSON.parse(text) as { migration: Migration }
        print(report, () => [migrationRows([report.migration]), databaseRows(report.migration)])
      }
    })
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (error) {
    throw new CliError(`The report cannot be written to ${file}: ${(error as Error).message}`, {
      exitCode: EXIT.usage,
      cause: error,
    })
  }
}
