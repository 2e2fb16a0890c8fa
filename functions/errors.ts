import type { HttpResponseInit } from '@azure/functions'
import { MigrationError } from '../migration/errors.ts'
import type { Logger } from '../migration/log.ts'
import { InvalidInput } from '../migration/model/invalid-input.ts'
import type { ErrorBody } from '../migration/model/migration-resource.ts'

/** Total over the codes that requests can end with; anything else is our own fault and a 500. */
const STATUS: Record<string, number> = {
  InvalidInput: 400,
  InvalidRequestContent: 400,
  MissingApiVersionParameter: 400,
  UnsupportedApiVersion: 400,
  603114: 400,
  ResourceNotFound: 404,
  MigrationMissing: 404,
  DetailsGone: 404,
  603113: 409,
  MigrationAlreadyExists: 409,
  CutoverNotReady: 409,
  LatencyTooHigh: 409,
  FallbackIsOn: 409,
  FallbackNotOn: 409,
  FallbackNotReady: 409,
  MigrationEnded: 409,
  CannotChangeNow: 409,
  RequestEntityTooLarge: 413,
  // The servers behind us: unreachable, no TLS, refused, no such database.
  603000: 502,
  603001: 502,
  603100: 502,
  603102: 502,
  TargetDatabaseMissing: 502,
  PasswordMissing: 502,
}

/**
 * The answer to a request that failed: Azure's error body, without stack or secret. What nobody expected is
 * logged here, once, and answered with the request's id to find it by.
 */
export function errorResponse(error: unknown, requestId: string, log: Logger): HttpResponseInit {
  const status = error instanceof MigrationError ? STATUS[error.code] : undefined
  if (!(error instanceof MigrationError) || status === undefined) {
    log.error('request failed', {
      requestId,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    return {
      status: 500,
      jsonBody: body(
        'InternalServerError',
        `Something unexpected went wrong; the log has it under request ${requestId}.`,
      ),
    }
  }
  const message = error.hint === undefined ? error.message : `${error.message} ${error.hint}`
  return {
    status,
    jsonBody: body(error.code, message, {
      ...(error.target === undefined ? {} : { target: error.target }),
      ...(error instanceof InvalidInput ? { details: error.details } : {}),
    }),
  }
}

function body(code: string, message: string, rest: Omit<ErrorBody['error'], 'code' | 'message'> = {}): ErrorBody {
  return { error: { code, message, ...rest } }
}
