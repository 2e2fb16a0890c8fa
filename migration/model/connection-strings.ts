import type { SslMode } from '../connect.ts'
import { isAzureHost } from './server-address.ts'

/** How a client of one kind reaches the database, as text to copy. */
export interface ConnectionString {
  client: 'libpq' | 'URI' | 'JDBC' | '.NET' | 'Node' | 'Python'
  text: string
}

export interface TargetDatabase {
  host: string
  port: number
  database: string
  sslMode: SslMode
}

/** Who connects is the application's own affair, and the password comes from where it keeps its secrets. */
const USER = '<user>'
/** Where a server's certificate is not signed by an authority that every machine trusts. */
const CA_FILE = '<file of the certificate authority>'

/**
 * The connection strings of a database on the target, for the usual clients; no passwords. A flexible server refuses
 * connections without TLS, and its certificates come from public authorities, so there the strictest check works:
 * https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-connect-tls-ssl. Elsewhere the migration's own
 * sslMode is used.
 */
export function connectionStrings(target: TargetDatabase): ConnectionString[] {
  const isAzure = isAzureHost(target.host)
  const mode: SslMode = isAzure ? 'VerifyFull' : target.sslMode
  const tls = { mode, isPublic: isAzure, checks: mode === 'VerifyCA' || mode === 'VerifyFull' }
  return [
    { client: 'libpq', text: libpq(target, tls) },
    { client: 'URI', text: uri(target, tls) },
    { client: 'JDBC', text: jdbc(target, tls) },
    { client: '.NET', text: npgsql(target, tls) },
    { client: 'Node', text: node(target, tls) },
    { client: 'Python', text: python(target, tls) },
  ]
}

interface Tls {
  mode: SslMode
  /** Signed by an authority that every machine trusts. */
  isPublic: boolean
  /** The certificate is checked. */
  checks: boolean
}

/** https://www.postgresql.org/docs/current/libpq-ssl.html; pgJDBC has the same words. */
const SSLMODE: Record<SslMode, string> = {
  Prefer: 'prefer',
  Require: 'require',
  VerifyCA: 'verify-ca',
  VerifyFull: 'verify-full',
}

/** sslrootcert=system: libpq 16 and newer, https://www.postgresql.org/docs/current/libpq-connect.html */
const rootCertificate = ({ checks, isPublic }: Tls): string | undefined =>
  checks ? (isPublic ? 'system' : CA_FILE) : undefined

function libpq({ host, port, database }: TargetDatabase, tls: Tls): string {
  const root = rootCertificate(tls)
  const quoted = (text: string): string =>
    /^[\w.:-]+$/.test(text) ? text : `'${text.replace(/[\\']/g, (character) => `\\${character}`)}'`
  return [
    `host=${quoted(host)} port=${port} dbname=${quoted(database)} user=${USER} sslmode=${SSLMODE[tls.mode]}`,
    ...(root === undefined ? [] : [`sslrootcert=${quoted(root)}`]),
  ].join(' ')
}

function uri({ host, port, database }: TargetDatabase, tls: Tls): string {
  const root = rootCertificate(tls)
  return `postgresql://${USER}@${inUrl(host)}:${port}/${encodeURIComponent(database)}?sslmode=${SSLMODE[tls.mode]}${
    root === undefined ? '' : `&sslrootcert=${root}`
  }`
}

/** https://jdbc.postgresql.org/documentation/ssl/: verify-full looks at its own file unless told to use Java's store. */
function jdbc({ host, port, database }: TargetDatabase, { mode, checks, isPublic }: Tls): string {
  const root = checks
    ? isPublic
      ? '&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory'
      : `&sslrootcert=${CA_FILE}`
    : ''
  return `jdbc:postgresql://${inUrl(host)}:${port}/${encodeURIComponent(database)}?user=${USER}&sslmode=${SSLMODE[mode]}${root}`
}

/** Npgsql: https://www.npgsql.org/doc/connection-string-parameters.html; a double quote in a quoted value is doubled. */
function npgsql({ host, port, database }: TargetDatabase, { mode, checks, isPublic }: Tls): string {
  const quoted = (text: string): string => (/^[\w.:-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`)
  const root = checks && !isPublic ? `;Root Certificate=${CA_FILE}` : ''
  return `Host=${quoted(host)};Port=${port};Database=${quoted(database)};Username=${USER};SSL Mode=${mode}${root}`
}

/** node-postgres: https://node-postgres.com/features/ssl; it has no "prefer", and encrypts or not. */
function node({ host, port, database }: TargetDatabase, { mode, isPublic }: Tls): string {
  const ca = isPublic ? '' : `ca: readFileSync(${JSON.stringify(CA_FILE)}, 'utf8')`
  const ssl: Record<SslMode, string> = {
    Prefer: 'false',
    Require: '{ rejectUnauthorized: false }',
    VerifyCA: `{ ${ca === '' ? '' : `${ca}, `}checkServerIdentity: () => undefined }`,
    VerifyFull: ca === '' ? 'true' : `{ ${ca} }`,
  }
  return `new pg.Client({ host: ${JSON.stringify(host)}, port: ${port}, database: ${JSON.stringify(database)}, user: '${USER}', password: process.env.PGPASSWORD, ssl: ${ssl[mode]} })`
}

/** psycopg, over libpq: https://www.psycopg.org/psycopg3/docs/api/module.html. A JSON string is a Python string, too. */
function python({ host, port, database }: TargetDatabase, tls: Tls): string {
  const root = rootCertificate(tls)
  return `psycopg.connect(host=${JSON.stringify(host)}, port=${port}, dbname=${JSON.stringify(database)}, user="${USER}", password=os.environ["PGPASSWORD"], sslmode="${SSLMODE[tls.mode]}"${
    root === undefined ? '' : `, sslrootcert=${JSON.stringify(root)}`
  })`
}

/** An IPv6 address stands in brackets in a URL. */
function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
