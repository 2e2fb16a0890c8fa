/** A structured logger: a short sentence and named values. It is always a parameter, never a global. */
export interface Logger {
  info(message: string, values?: Record<string, unknown>): void
  warn(message: string, values?: Record<string, unknown>): void
  error(message: string, values?: Record<string, unknown>): void
}

export const silentLogger: Logger = { info() {}, warn() {}, error() {} }
