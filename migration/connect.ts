import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import pg from 'pg'
import { errorText, isTransient, MigrationError, sqlState } from './errors.ts'

export type SslMode = 'Prefer' | 'Require' | 'VerifyCA' | 'VerifyFull'

/** Where a server is and who we are there; the password comes from the secret store at the moment of connecting. */
export interface Endpoint {
  side: 'source' | 'target'
  host: string
  port: number
  user: string
  sslMode: SslMode
  /** PEM file with the certificate authorities to trust; default: those of Node. */
  caFile?: string
  password(): Promise<string>
}

export interface ConnectOptions {
  database: string
  /** Shown to the DBA in pg_stat_activity.application_name, after `pgflex `. */
  purpose: string
  /** Opens a walsender that accepts replication commands and simple queries only. */
  replication?: boolean
  /** More run-time parameters, over {@link SESSION_SETTINGS}; `none` leaves all as the server has them, to look at them. */
  settings?: Record<string, string> | 'none'
}

/** A connected client that closes itself at the end of an `await using` block. */
export type Connection = pg.Client & AsyncDisposable

/**
 * Settings of every session. Text values of a session follow the server's, the database's and the role's
 * defaults unless they are set here; PostgreSQL's own subscriber forces the first three for this reason.
 * row_security=off makes a policy that would hide rows an error instead of missing rows.
 * https://www.postgresql.org/docs/current/runtime-config-client.html
 */
const SESSION_SETTINGS: Record<string, string> = {
  datestyle: 'ISO',
  intervalstyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
  xmloption: 'content',
  // The text of regclass, regtype and their like.
  quote_all_identifiers: 'off',
  // The text of money; C carries the stored number, whatever the locales of the two sides.
  lc_monetary: 'C',
  // Off, NULL inside an array would be read as the word.
  array_nulls: 'on',
  timezone: 'UTC',
  search_path: 'pg_catalog',
  row_security: 'off',
  standard_conforming_strings: 'on',
  // A fence is checked against what is committed now, not against the beginning of the transaction.
  default_transaction_isolation: 'read committed',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  // The database may be frozen for cutover, or read-only by default for its users: our sessions still have to work.
  default_transaction_read_only: 'off',
}

/**
 * transaction_timeout (PostgreSQL 17) and idle_session_timeout (14) may be set for a database or a role; an older
 * server would refuse them at the start of a session. In the simple protocol, which is all that a walsender knows.
 */
const NO_TIMEOUTS = `
  select set_config(name, '0', false)
    from pg_catalog.pg_settings
   where name in ('transaction_timeout', 'idle_session_timeout')`

/**
 * A SQL_ASCII database holds the bytes that its clients once sent, in whatever encoding. To a client that says
 * UTF8 the server refuses all of them that are no UTF-8, in both directions; to one that says SQL_ASCII it passes
 * them as they are. https://www.postgresql.org/docs/current/multibyte.html
 */
const NO_ENCODING = `
  select set_config('client_encoding', 'SQL_ASCII', false)
   where current_setting('server_encoding') = 'SQL_ASCII'`

/** What a session begins with beside its start-up packet; also after RESET ALL, which leaves only that. */
export const SESSION_START = `${NO_TIMEOUTS} union all ${NO_ENCODING}`

/** Long enough for a distant server with TLS, short enough to tell a wrong address within a minute. */
const CONNECT_TIMEOUT_MS = 15_000

/** ms for a server to close a connection that has ended; one that hangs does not, and nobody is to wait for it. */
const END_MS = 5_000

/**
 * Opens a connection with the session settings that carry values exactly.
 *
 * @throws {MigrationError} 603000 unreachable, 603001 no TLS, 603100 wrong user or password, 603102 no such database
 */
export async function connect(endpoint: Endpoint, options: ConnectOptions): Promise<Connection> {
  const config = await clientConfig(endpoint, options)
  try {
    return await open(config)
  } catch (error) {
    // libpq's "prefer": TLS when the server has it, else plain.
    const plain = endpoint.sslMode === 'Prefer' && error instanceof Error && /does not support SSL/i.test(error.message)
    if (!plain) throw connectError(endpoint, options, error)
    try {
      return await open({ ...config, ssl: false })
    } catch (plainError) {
      throw connectError(endpoint, options, plainError)
    }
  }
}

/** The node-postgres configuration of a connection; exported for libraries that open their own client. */
export async function clientConfig(endpoint: Endpoint, options: ConnectOptions): Promise<pg.ClientConfig> {
  const settings = options.settings === 'none' ? {} : { ...SESSION_SETTINGS, ...options.settings }
  return {
    host: endpoint.host,
    port: endpoint.port,
    user: endpoint.user,
    password: await endpoint.password(),
    database: options.database,
    application_name: `pgflex ${options.purpose}`.slice(0, 63),
    client_encoding: 'UTF8',
    // A space or a backslash in a value would end it: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, '\\$&')}`)
      .join(' '),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ssl: tlsOptions(endpoint),
    ...(options.replication === true ? { replication: 'database' } : {}),
    // Values are carried as PostgreSQL's own text, never through JavaScript types.
    types: { getTypeParser: () => (value: string) => value },
  } as pg.ClientConfig
}

/** libpq's sslmode in Node's terms: Prefer and Require encrypt without checking who answers. */
function tlsOptions({ sslMode, caFile, host }: Endpoint): ConnectionOptions {
  const ca = caFile === undefined ? {} : { ca: readFileSync(caFile) }
  switch (sslMode) {
    case 'Prefer':
    case 'Require':
      return { rejectUnauthorized: false, ...ca }
    case 'VerifyCA':
      return { rejectUnauthorized: true, checkServerIdentity: () => undefined, ...ca }
    case 'VerifyFull':
      return { rejectUnauthorized: true, servername: host, ...ca }
  }
}

async function open(config: pg.ClientConfig): Promise<Connection> {
  const client = new pg.Client(config)
  // Without a listener a connection that breaks while idle ends the process; the next query reports it anyway.
  client.on('error', () => {})
  try {
    await client.connect()
    if (config.options !== '') await beginSession(client)
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
  return Object.assign(client, {
    async [Symbol.asyncDispose]() {
      const timer = setTimeout(() => client.connection.stream.destroy(), END_MS)
      await client.end().catch(() => {})
      clearTimeout(timer)
    },
  })
}

/** Within the limit of the connection: a pooler may have taken it while its server hangs. */
async function beginSession(client: pg.Client): Promise<void> {
  const timer = setTimeout(() => client.connection.stream.destroy(new Error('timeout expired')), CONNECT_TIMEOUT_MS)
  try {
    await client.query(SESSION_START)
  } finally {
    clearTimeout(timer)
  }
}

function connectError(
  { side, host, port, user }: Endpoint,
  { database, purpose }: ConnectOptions,
  error: unknown,
): MigrationError {
  const server = `${side} server ${host}:${port}`
  const options = { cause: error, target: side, retryable: isTransient(error) }
  const state = sqlState(error)
  if (state === '28P01' || state === '28000') {
    return new MigrationError(
      '603100',
      `Authentication failed on the ${server} for user "${user}" (${purpose}): ${errorText(error)}.`,
      {
        ...options,
        hint: `Check the user name and the password in secretParameters, and pg_hba.conf of the ${side}.`,
      },
    )
  }
  if (state === '3D000') {
    return new MigrationError(
      side === 'source' ? '603102' : 'TargetDatabaseMissing',
      `Database "${database}" does not exist on the ${server}.`,
      {
        ...options,
        hint: 'Database names are case-sensitive; list them with: select datname from pg_database.',
      },
    )
  }
  if (error instanceof Error && /does not support SSL/i.test(error.message)) {
    return new MigrationError('603001', `The ${server} does not support TLS.`, {
      ...options,
      hint: 'Switch on TLS there, or set sslMode to Prefer.',
    })
  }
  if (error instanceof Error && /certificate|self.signed|altnames|unable to verify/i.test(error.message)) {
    return new MigrationError('603001', `The TLS certificate of the ${server} was not accepted: ${errorText(error)}.`, {
      ...options,
      hint: 'Give the certificate authority (setting PGFLEX_CA_FILE), or use sslMode Require.',
    })
  }
  return new MigrationError(
    '603000',
    `Connection to the ${server}, database "${database}", failed (${purpose}): ${errorText(error)}.`,
    {
      ...options,
      hint: `Check that the address is right, that the server is running, and that firewalls let this machine reach ${host}:${port}.`,
    },
  )
}
