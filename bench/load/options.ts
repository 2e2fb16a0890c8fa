import { Command, Option } from 'commander'
import { someOf, wholeNumber } from '../options.ts'
import { LOADERS, type LoaderName } from './loader.ts'
import { SHAPES, type ShapeName, type Sizes } from './shape.ts'

export interface LoadBenchOptions extends Sizes {
  sourceMajor: number
  targetMajor: number
  rounds: number
  jobs: number
  shapes: ShapeName[]
  loaders: LoaderName[]
  mode: 'online' | 'offline'
  /** s; a load of one of the peers is stopped then. */
  limit: number
  /** Folder for profiles of pgflex. */
  cpuProf?: string
}

export function loadCommand(): Command {
  return new Command('load')
    .description('Loads the same database by pgflex, pgcopydb and pg_dump, and its rows by COPY alone.')
    .option('--rounds <number>', 'loads of each shape by each of them', wholeNumber, 3)
    .option('--rows <number>', 'rows of the one big table', wholeNumber, 4_000_000)
    .option('--tables <number>', 'middling tables', wholeNumber, 200)
    .option('--table-rows <number>', 'rows of each of them', wholeNumber, 20_000)
    .option('--small-tables <number>', 'small tables', wholeNumber, 10_000)
    .option('--jobs <number>', 'tables, or parts of them, and indexes at a time', wholeNumber, 4)
    .option('--shapes <names>', `some of ${SHAPES.join(',')}`, someOf(SHAPES), [...SHAPES])
    .option('--loaders <names>', `some of ${LOADERS.join(',')}`, someOf(LOADERS), [...LOADERS])
    .addOption(
      new Option('--mode <mode>', 'of the migration by pgflex').choices(['online', 'offline']).default('online'),
    )
    .option('--limit <seconds>', 'stop a load of the others after so long', wholeNumber, 300)
    .option('--source-major <number>', 'PostgreSQL major of the source', wholeNumber, 15)
    .option('--target-major <number>', 'PostgreSQL major of the target', wholeNumber, 17)
    .option('--cpu-prof <folder>', 'write processor profiles of pgflex there')
}
