import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { isLoopback } from './auth.ts'
import { errorMessage } from './sanitize.ts'
import { usageError } from './startup-error.ts'

export interface HostOptions {
  host: string
  port: number
  tls?: { cert: Buffer; key: Buffer }
  /** Root of the app whose functions are run. */
  app: string
  home: string
  key?: string
  verbose: boolean
  /** For tests: see ActivityRunnerOptions. */
  runTwice?: string
}

export const usage = `Usage: node dist/host/main.js [options]

  --port NUMBER    port to listen on (default 7071, or PORT; 0 picks a free one)
  --host ADDRESS   address to listen on (default 127.0.0.1); any but a loopback address needs a certificate
  --tls-cert FILE  certificate in PEM form; with it the host serves HTTPS
  --tls-key FILE   its private key in PEM form
  --app FOLDER     the app to run (default: pgflex itself)
  --verbose        log more, to stderr
  --help           show this

  PGFLEX_HOME      folder for database, key and secrets (default .pgflex)
  PGFLEX_KEY       the key that requests must carry (default: made at the first start, kept in the folder)
`

export function readOptions(args: string[], env: NodeJS.ProcessEnv): HostOptions | 'help' {
  const values = parse(args)
  if (values.help) return 'help'
  const { 'tls-cert': cert, 'tls-key': key } = values
  if ((cert === undefined) !== (key === undefined)) throw usageError('--tls-cert and --tls-key go together.')
  const host = values.host ?? '127.0.0.1'
  if (!isLoopback(host) && cert === undefined)
    throw usageError(
      `--host ${host} would send the key and passwords over the network unencrypted. ` +
        'Give a certificate with --tls-cert and --tls-key, or leave --host out.',
    )
  return {
    host,
    port: readPort(values.port ?? (env['PORT'] || '7071')),
    tls: cert !== undefined && key !== undefined ? { cert: readFile(cert), key: readFile(key) } : undefined,
    app: resolve(values.app ?? packageRoot()),
    home: resolve(env['PGFLEX_HOME'] || '.pgflex'),
    key: env['PGFLEX_KEY'] || undefined,
    verbose: values.verbose ?? false,
    runTwice: env['PGFLEX_TEST_RUN_TWICE'] || undefined,
  }
}

function parse(args: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args,
      options: {
        port: text,
        host: text,
        'tls-cert': text,
        'tls-key': text,
        app: text,
        verbose: flag,
        help: { ...flag, short: 'h' },
      },
    }).values
  } catch (error) {
    throw usageError(error instanceof Error ? error.message : String(error), error)
  }
}

function readPort(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw usageError(`"${text}" is not a port.`)
  return port
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw usageError(`${path} cannot be read: ${errorMessage(error)}`, error)
  }
}

/** The folder of pgflex's package.json: one up from here in the sources, two up in the build. */
export function packageRoot(from = import.meta.dirname): string {
  if (existsSync(join(from, 'package.json'))) return from
  const parent = dirname(from)
  if (parent === from) throw new Error('The package.json of pgflex is missing.')
  return packageRoot(parent)
}
