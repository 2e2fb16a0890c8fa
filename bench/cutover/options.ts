import { Command, InvalidArgumentError } from 'commander'
import { someOf, wholeNumber } from '../options.ts'

export const VERIFICATIONS = ['Counts', 'Checksums'] as const
export type Verification = (typeof VERIFICATIONS)[number]

export interface CutoverOptions {
  sourceMajor: number
  targetMajor: number
  rounds: number
  /** Tables of a database, each number a measurement of its own. */
  tables: number[]
  verify: Verification[]
  /** Databases that are cut over together, each number a measurement of its own. */
  databases: number[]
  /** Tables of each of them. */
  databaseTables: number
  /** Of all tables of a database together. */
  rows: number
  /** s that the source's capacity is measured, and that the workload runs before the cutover. */
  seconds: number
  /** Per cent of the capacity that the workload takes. */
  share: number
  /** A cutover by Checksums waits until all tables have been compared in the background, as a user would. */
  compared: boolean
  /** Folder for profiles of pgflex. */
  cpuProf?: string
}

export function cutoverCommand(): Command {
  return new Command('cutover')
    .description('Cuts databases over under load, and tells how long nobody could write and which step took it.')
    .option('--rounds <number>', 'cutovers of each kind', wholeNumber, 5)
    .option('--tables <numbers>', 'numbers of tables of one database', numbers, [1, 100, 2000])
    .option('--verify <names>', `some of ${VERIFICATIONS.join(',')}`, someOf(VERIFICATIONS), [...VERIFICATIONS])
    .option('--databases <numbers>', 'numbers of databases that are cut over together, by Counts', numbers, [1, 8])
    .option('--database-tables <number>', 'tables of each of them', wholeNumber, 10)
    .option('--rows <number>', 'rows of a database, all tables together', wholeNumber, 200_000)
    .option('--seconds <number>', 'how long the workload runs before the cutover', wholeNumber, 5)
    .option('--share <percent>', 'of what the source can do, that the workload takes', percent, 50)
    .option('--no-compared', 'cut over by Checksums before the tables have been compared in the background')
    .option('--source-major <number>', 'PostgreSQL major of the source', wholeNumber, 15)
    .option('--target-major <number>', 'PostgreSQL major of the target', wholeNumber, 17)
    .option('--cpu-prof <folder>', 'write processor profiles of pgflex there')
}

/** Some whole numbers; 0 alone means none. */
function numbers(text: string): number[] {
  return text === '0' ? [] : text.split(',').map((part) => wholeNumber(part.trim()))
}

function percent(text: string): number {
  const number = wholeNumber(text)
  if (number > 100) throw new InvalidArgumentError('It must be a whole number from 1 to 100.')
  return number
}
