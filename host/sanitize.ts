/**
 * Takes credentials out of text that is about to be logged or stored as an error.
 *
 * The Functions host does the same to every error that a function throws, so code that relies on such text
 * surviving (a connection string inside an error message, say) would break on Azure too.
 */

const hidden = '[Hidden Credential]'

/** `Password=…`, `AccountKey=…` and their kind, up to the quote, bracket or separator that ends the value. */
const keyValue = /\w*(?:password|passwd|pwd|key|token|secret|\bsig)\s*=\s*(?:'[^']*'|"[^"]*"|[^"'<>&;\s]+)/gi

/** `"password": "…"` in JSON. */
const jsonMember = /("(?:password|pwd|secret|token|accessToken|key)"\s*:\s*)"(?:\\.|[^"\\])*"/gi

/** `?code=…`: the key in the URLs of the management API. */
const codeInUrl = /([?&]code=)[^&\s"'<>]+/gi

/** `postgres://user:password@host`, whatever the scheme; up to the last `@`, because a password may hold one. */
const urlCredentials = /([a-z][a-z0-9+.-]*:\/\/)[^\s:/@"'<>]*:[^\s"'<>]*@/gi

const bearer = /\bBearer\s+[A-Za-z0-9._~+/=-]+/gi

export function sanitize(text: string): string {
  return text
    .replace(keyValue, hidden)
    .replace(jsonMember, `$1"${hidden}"`)
    .replace(codeInUrl, `$1${hidden}`)
    .replace(urlCredentials, `$1${hidden}@`)
    .replace(bearer, `Bearer ${hidden}`)
}

/** The message of whatever was thrown, without credentials. */
export function errorMessage(error: unknown): string {
  return sanitize(error instanceof Error ? error.message : String(error))
}

/** Message and stack of whatever was thrown, without credentials: for the log, never for an answer. */
export function errorStack(error: unknown): string {
  if (!(error instanceof Error)) return sanitize(String(error))
  const cause = error.cause === undefined ? '' : `\nCaused by: ${errorStack(error.cause)}`
  return sanitize(error.stack ?? error.message) + cause
}
