/**
 * Takes credentials out of text that is about to be logged or stored as an error.
 *
 * The Functions host does the same to every error that a function throws, so code that relies on such text
 * surviving (a connection string inside an error message, say) would break on Azure too.
 */

const hidden = '[Hidden Credential]'

/** `Password=…`, `AccountKey=…`, `?code=…` and their kind, up to the quote, bracket or separator that ends them. */
const keyValue =
  /(?<![A-Za-z])(?:password|passwd|pwd|pgpassword|accountkey|sharedaccesskey|key|token|sig|secret|code)\s*=\s*(?:'[^']*'|[^"'<>&;\s]+)/gi

/** `postgres://user:password@host`, whatever the scheme. */
const urlCredentials = /([a-z][a-z0-9+.-]*:\/\/)[^\s:/@"'<>]*:[^\s@"'<>]*@/gi

const bearer = /\bBearer\s+[A-Za-z0-9._~+/=-]+/gi

export function sanitize(text: string): string {
  return text
    .replace(keyValue, hidden)
    .replace(urlCredentials, `$1${hidden}@`)
    .replace(bearer, `Bearer ${hidden}`)
}

/** The message of whatever was thrown, without credentials. */
export function errorMessage(error: unknown): string {
  return sanitize(error instanceof Error ? error.message : String(error))
}

/** Message and stack of whatever was thrown, without credentials: for the log, never for an answer. */
export function errorStack(error: unknown): string {
  return sanitize(error instanceof Error ? (error.stack ?? error.message) : String(error))
}
