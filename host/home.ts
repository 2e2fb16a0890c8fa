import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StartupError } from './startup-error.ts'

/** The folder that holds everything a local host keeps: database, key, secrets, and the address it runs at. */
export interface Home {
  path: string
  database: string
  /** Where a running host is reached: for the command line. */
  urlFile: string
  release(): void
}

/**
 * Opens the folder, making it if needed, and locks it: one host for each home. The lock is one that SQLite holds on
 * a file, so the operating system drops it however the process ends; and it is the reason why a new host may take
 * over everything that an earlier one was doing.
 */
export function openHome(path: string): Home {
  const home = resolve(path)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  chmodSync(home, 0o700)
  const urlFile = join(home, 'url')
  // SQLite gives its side files the mode of the database. The lock file must not be opened again later: closing it
  // a second time in this process would drop the lock.
  for (const name of ['host.db', 'host.lock']) writeFileSync(join(home, name), '', { flag: 'a', mode: 0o600 })
  const lock = lockHome(home, urlFile)
  return {
    path: home,
    database: join(home, 'host.db'),
    urlFile,
    release() {
      rmSync(urlFile, { force: true })
      lock.close()
    },
  }
}

function lockHome(home: string, urlFile: string): DatabaseSync {
  const lock = new DatabaseSync(join(home, 'host.lock'))
  try {
    lock.exec('pragma locking_mode = exclusive; begin exclusive')
    return lock
  } catch (error) {
    lock.close()
    if (!/locked|busy/i.test(error instanceof Error ? error.message : '')) throw error
    const where = existsSync(urlFile) ? ` It is at ${readFileSync(urlFile, 'utf8').trim()}.` : ''
    throw new StartupError(
      `Another host is using ${home}.${where} Stop it, or choose another folder with PGFLEX_HOME.`,
      { cause: error },
    )
  }
}

/** The key of this home: the one given, else the one of earlier starts, else a new one. */
export function readKey(home: Home, given: string | undefined): string {
  const file = join(home.path, 'key')
  const stored = existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
  const key = given || stored || randomBytes(32).toString('base64url')
  if (!/^[\w.~+/=-]+$/.test(key))
    throw new StartupError('The key in PGFLEX_KEY can only have letters, digits and the characters . _ ~ + / = -')
  if (key !== stored) writeSecretFile(file, key)
  return key
}

/** Writes a file that only this user can read. */
export function writeSecretFile(path: string, content: string): void {
  writeFileSync(path, `${content}\n`, { mode: 0o600 })
  chmodSync(path, 0o600)
}
