import { MigrationError } from '../migration/errors.ts'

/** What an Azure SDK throws, as far as we read it; its request is left alone, since that carries secrets. */
interface AzureError {
  message?: string
  statusCode?: number
  /** The service's own word (`ServerIsBusy`), or Node's for a network error (`ECONNREFUSED`). */
  code?: string
  name?: string
}

/** The HTTP status of an error of an Azure SDK, or undefined when there was no answer. */
export function httpStatus(error: unknown): number | undefined {
  const status = (error as AzureError | null | undefined)?.statusCode
  return typeof status === 'number' ? status : undefined
}

/** The service's own word for an error, such as `BlobNotFound`. */
export function serviceCode(error: unknown): string | undefined {
  const code = (error as AzureError | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

export interface Doing {
  /** What was tried, as the end of a sentence: `set the server parameter wal_level`. */
  what: string
  /** The role that allows it, named when Azure says 403. */
  role: string
  /** Where the role is needed: a URL or a resource id. */
  scope: string
}

/**
 * An error of an Azure SDK in our words. The original is not kept as the cause: it holds the request, and
 * with it the secret or the token that was sent.
 */
export function azureError(error: unknown, { what, role, scope }: Doing): MigrationError {
  if (error instanceof MigrationError) return error
  const { message, name } = (error ?? {}) as AzureError
  const status = httpStatus(error)
  const code = serviceCode(error)
  const why = firstLine(message) || name || 'no reason given'
  const facts = [status === undefined ? undefined : `HTTP ${status}`, code].filter((fact) => fact !== undefined)
  const text = `Azure did not let us ${what} (${scope}): ${why}${facts.length === 0 ? '' : ` [${facts.join(', ')}]`}`
  if (
    name === 'CredentialUnavailableError' ||
    name === 'AuthenticationError' ||
    name === 'AggregateAuthenticationError'
  ) {
    return new MigrationError('AzureSignIn', text, {
      hint: 'Give the function app a managed identity (AZURE_CLIENT_ID names it), or sign in with "az login".',
      retryable: false,
    })
  }
  if (status === 401 || status === 403) {
    return new MigrationError('AzureForbidden', text, {
      hint: `Assign the role "${role}" on ${scope} to the identity of the function app; a new assignment takes some minutes.`,
    })
  }
  if (status === undefined && name === 'RestError') {
    return new MigrationError('AzureUnreachable', text, {
      hint: `Check that this machine reaches ${scope}: name resolution, firewall, private endpoint, TLS.`,
      retryable: true,
    })
  }
  // Without a status it is an operation that Azure accepted and that failed afterwards.
  return new MigrationError(code ?? (status === undefined ? 'AzureRefused' : `Http${status}`), text, {
    retryable: status !== undefined && isTransientStatus(status),
  })
}

/** Time-out, conflict with a running operation, too many requests, or an error of the service. */
function isTransientStatus(status: number): boolean {
  return status === 408 || status === 409 || status === 429 || status >= 500
}

/** Azure's messages go on with request ids and times on further lines. */
function firstLine(message: string | undefined): string {
  return (message ?? '').trim().split(/\r?\n/)[0]!
}
