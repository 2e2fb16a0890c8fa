import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The server binaries that npm has installed, one package for each major and platform. */
const MODULES = findModules(dirname(fileURLToPath(import.meta.url)))

/** Where the server binaries of a major are, or undefined when npm has none for this platform. */
function nativeFolder(major: number): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const folder = join(MODULES, `pg${major}-${platform}-${process.arch}`, 'native')
  return existsSync(folder) ? folder : undefined
}

/** The majors that can be started here, oldest first. */
export function availableMajors(): number[] {
  return [12, 13, 14, 15, 16, 17, 18, 19].filter((major) => nativeFolder(major) !== undefined)
}

/**
 * The folder of a major's binaries, ready to run.
 *
 * @throws {Error} when npm has none for this platform
 */
export function installedBinaries(major: number): string {
  const native = nativeFolder(major)
  if (native === undefined) {
    throw new Error(
      `There is no embedded PostgreSQL ${major} for ${process.platform} ${process.arch}; there are: ${availableMajors().join(', ')}.`,
    )
  }
  hydrateSymlinks(native)
  return native
}

/** The npm packages carry no symbolic links; their install script makes them, unless scripts are switched off. */
function hydrateSymlinks(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = join(dirname(native), target)
    if (existsSync(link)) continue
    try {
      symlinkSync(relative(dirname(link), join(dirname(native), source)), link)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** A checkout of root's may lie where no other user can read it. */
export function isReachable(native: string, identity: { uid: number; gid: number }): boolean {
  const options = { ...identity, cwd: '/', env: { LD_LIBRARY_PATH: join(native, 'lib') } }
  return spawnSync(join(native, 'bin', 'postgres'), ['--version'], options).status === 0
}

/** Puts the server's binaries (60 MB) beside its data, where its user can read them: as links where that goes. */
export function copyNative(native: string, folder: string): string {
  const copy = join(folder, 'native')
  linkTree(native, copy)
  return copy
}

function linkTree(from: string, to: string): void {
  mkdirSync(to)
  chmodSync(to, 0o755)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) linkTree(source, target)
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target)
    else linkOrCopy(source, target)
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch {
    // Another file system, or one without links.
    copyFileSync(source, target)
  }
}

function findModules(from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'node_modules'))) return join(folder, 'node_modules')
    if (folder === dirname(folder)) throw new Error('node_modules was not found; run npm ci.')
  }
}
