import type { Socket } from 'node:net'
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { CONTROL_SCHEMA } from '../control/control-schema.ts'
import { MigrationError } from '../errors.ts'
import { AnswerReader } from './wire.ts'

export type DumpSection = 'pre-data' | 'post-data'

export interface DumpOptions {
  /** More arguments of pg_dump. */
  args?: string[]
  /** Ends the dump. */
  signal?: AbortSignal
}

/** What the worker thread is started with. */
export interface DumpWorkerData {
  args: string[]
  /** What the server reports to its clients: ParameterStatus. */
  parameters: Record<string, string>
  answers: MessagePort
  /** Cell 0 counts the answers that were put into the port. */
  signal: Int32Array<SharedArrayBuffer>
}

export type DumpWorkerMessage =
  | { type: 'request'; bytes: Uint8Array; answered: number }
  | { type: 'done'; text: string }
  | { type: 'failed'; message: string }

/** The key of pg_dump's `\restrict` lines: with a fixed one two dumps of one schema are equal. */
export const RESTRICT_KEY = 'pgflex'

const ARGUMENTS = [
  // Names that have become keywords since the source's version keep their meaning.
  '--quote-all-identifiers',
  // Flexible server has one tablespace.
  '--no-tablespaces',
  // A subscription that comes along would start to read from its publisher.
  '--no-subscriptions',
  '--no-large-objects',
  '--no-statistics',
  `--exclude-schema=${CONTROL_SCHEMA}`,
  `--restrict-key=${RESTRICT_KEY}`,
  '--encoding=UTF8',
  '--no-password',
]

/** Node runs the TypeScript source as it is, and the compiled file in dist/. */
const WORKER = import.meta.url.endsWith('.ts')
  ? new URL('./dump-worker.ts', import.meta.url)
  : new URL('./dump-worker.js', import.meta.url)

/**
 * The schema of the source database as pg_dump 18 prints it, one section of it.
 *
 * @throws {MigrationError} SchemaDumpFailed with pg_dump's own message
 */
export async function dumpSchema(
  context: DatabaseContext,
  section: DumpSection,
  options: DumpOptions = {},
): Promise<string> {
  await using source = await context.source('schema')
  const signal = AbortSignal.any([context.draining, ...(options.signal ? [options.signal] : [])])
  return await dumpDatabase(source, [`--section=${section}`, ...(options.args ?? [])], signal)
}

/**
 * Runs pg_dump (in WebAssembly, in a thread of its own) over a connection, which is used up by it.
 *
 * @throws {MigrationError} SchemaDumpFailed
 */
export async function dumpDatabase(connection: Connection, args: string[], signal?: AbortSignal): Promise<string> {
  const parameters = await reportedParameters(connection)
  const stream = takeStream(connection)
  const channel = new MessageChannel()
  const ready = new Int32Array(new SharedArrayBuffer(4))
  const workerData: DumpWorkerData = {
    args: [...ARGUMENTS, ...args],
    parameters,
    answers: channel.port2,
    signal: ready,
  }
  const worker = new Worker(WORKER, {
    workerData,
    transferList: [channel.port2],
    // Nothing of the host's arguments and environment is of use to the thread.
    argv: [],
    execArgv: [],
    env: {},
  })
  try {
    return await new Promise<string>((resolve, reject) => {
      let reader: AnswerReader | undefined
      const lost = (cause?: unknown): void =>
        reject(
          new MigrationError('SchemaDumpFailed', 'The connection to the source was lost while its schema was read.', {
            retryable: true,
            target: 'source',
            cause,
          }),
        )
      stream.on('data', (chunk: Buffer) => {
        if (reader?.push(chunk) !== true) return
        const bytes = reader.bytes()
        reader = undefined
        channel.port1.postMessage(bytes, [bytes.buffer])
        Atomics.add(ready, 0, 1)
        Atomics.notify(ready, 0)
      })
      stream.once('error', lost).once('close', lost)
      worker.on('message', (message: DumpWorkerMessage) => {
        if (message.type === 'done') resolve(message.text)
        else if (message.type === 'failed') reject(dumpError(message.message))
        else {
          reader = new AnswerReader(message.answered)
          stream.write(message.bytes)
        }
      })
      worker.once('error', reject)
      worker.once('exit', () => reject(dumpError('pg_dump ended without a result')))
      const stop = (): void =>
        reject(
          new MigrationError('Draining', 'The host is about to stop; the schema is read again.', { retryable: true }),
        )
      if (signal?.aborted) stop()
      signal?.addEventListener('abort', stop, { once: true })
    })
  } finally {
    await worker.terminate()
    channel.port1.close()
    stream.destroy()
  }
}

/** The socket of a connection, from now on without node-postgres reading from it. */
function takeStream(connection: Connection): Socket {
  const { stream } = (connection as unknown as { connection: { stream: Socket } }).connection
  stream.removeAllListeners('data')
  return stream
}

/** The parameters that libpq keeps and pg_dump looks at. */
async function reportedParameters(connection: Connection): Promise<Record<string, string>> {
  // The role's and the database's own settings must not change what is printed: pg_dump sets the others itself.
  await connection.query('set quote_all_identifiers = off; set xmlbinary = base64')
  const { rows } = await connection.query<Record<string, string>>(
    `select current_setting('server_version') as server_version,
            current_setting('server_encoding') as server_encoding,
            current_setting('client_encoding') as client_encoding,
            current_setting('standard_conforming_strings') as standard_conforming_strings,
            current_setting('integer_datetimes') as integer_datetimes,
            current_setting('is_superuser') as is_superuser,
            case when pg_is_in_recovery() then 'on' else 'off' end as in_hot_standby`,
  )
  return rows[0]!
}

/** pg_dump's own words, without the query that it was at. */
function dumpError(message: string): MigrationError {
  const lines = message.split(/pg_dump: (?=(?:error|warning|detail|hint): )/).map((line) => line.trim())
  // A detail is the query that failed, or says what is wrong with it.
  const told = lines.filter((line) => /^(error|hint|detail): (?!Query was)/.test(line))
  const text = told.length === 0 ? message : told.join(' ').replace(/^error: /, '')
  return new MigrationError('SchemaDumpFailed', `The schema of the source could not be read: ${text}`, {
    target: 'source',
    hint: hintFor(text),
  })
}

function hintFor(text: string): string {
  if (/permission denied/.test(text)) {
    return 'The migrating role needs to be a member of the roles that own the tables: grant <owner> to <role>.'
  }
  if (/invalid byte sequence/.test(text)) {
    return 'A definition or comment in this SQL_ASCII database is not UTF-8: write it anew on the source.'
  }
  return 'Run pg_dump --schema-only as the same role to see the same error.'
}
