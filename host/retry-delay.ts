import type { RetryOptions } from './actions.ts'

/** How long to wait after a failed attempt (the first is 1) before the next one. */
export function retryDelayMs(options: RetryOptions, attempt: number): number {
  const {
    firstRetryIntervalInMilliseconds: first,
    backoffCoefficient = 1,
    maxRetryIntervalInMilliseconds: longest = Number.POSITIVE_INFINITY,
  } = options
  return Math.min(first * backoffCoefficient ** (attempt - 1), longest)
}
