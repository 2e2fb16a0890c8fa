import { sanitize } from './sanitize.ts'

export type LogValues = Record<string, string | number | boolean | undefined>

/** One line for each call; text is cleaned of credentials. Inputs and outputs of functions are never passed in. */
export interface Log {
  debug(message: string, values?: LogValues): void
  info(message: string, values?: LogValues): void
  warn(message: string, values?: LogValues): void
  error(message: string, values?: LogValues): void
}

const levels = ['debug', 'info', 'warn', 'error'] as const
type Level = (typeof levels)[number]

export function formatLine(level: Level, message: string, values: LogValues, now: Date): string {
  const pairs = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? JSON.stringify(value) : value}`)
  return sanitize(`${now.toISOString()} ${level} ${message.replaceAll('\n', '\\n')}${pairs.join('')}\n`)
}

/** A log on stderr (stdout belongs to the start message and to the app). */
export function createLog({ verbose = false, write = (line: string) => void process.stderr.write(line) } = {}): Log {
  const print = (level: Level) =>
    level === 'debug' && !verbose
      ? () => {}
      : (message: string, values: LogValues = {}) => write(formatLine(level, message, values, new Date()))
  return { debug: print('debug'), info: print('info'), warn: print('warn'), error: print('error') }
}
