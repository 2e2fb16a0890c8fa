import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { CliError } from './cli-error.ts'

export interface HostAddress {
  /** Without a slash at its end. */
  url: string
  key: string
}

/**
 * Where the host is: PGFLEX_URL and PGFLEX_KEY, or the local host that runs in PGFLEX_HOME (`.pgflex`).
 *
 * @throws {CliError} when there is none
 */
export function findHost(environment: NodeJS.ProcessEnv): HostAddress {
  const home = resolve(environment['PGFLEX_HOME'] || '.pgflex')
  const localUrl = read(join(home, 'url'))
  const url = environment['PGFLEX_URL'] || localUrl
  if (!url) {
    throw new CliError(`No host runs in ${home}.`, {
      hint: 'Start one with npm start, or say where it is with PGFLEX_URL and PGFLEX_KEY.',
    })
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new CliError(`PGFLEX_URL is not a URL: ${url}`, { hint: 'Give it as https://host or http://127.0.0.1:7071.' })
  }
  const trimmed = url.replace(/\/+$/, '')
  // The key of this home is for the host of this home: no other server gets to see it.
  const key =
    environment['PGFLEX_KEY'] || (trimmed === localUrl?.replace(/\/+$/, '') ? read(join(home, 'key')) : undefined)
  if (!key) throw new CliError(`There is no key for ${trimmed}.`, { hint: 'Set PGFLEX_KEY.' })
  return { url: trimmed, key }
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() || undefined : undefined
}
