import { spawnSync } from 'node:child_process'

/**
 * Why pgcopydb takes no part.
 *
 * Its `follow` works with a snapshot, a slot of its own output plugin, a replication origin and a catalog that its
 * own commands have made before, other ones in each of its releases, and as a superuser. It is not driven here.
 */
export function whyNotPgcopydb(): string {
  const { status, stdout } = spawnSync('pgcopydb', ['--version'], { encoding: 'utf8' })
  return status === 0
    ? `${stdout.split('\n')[0]} is on the PATH, but this benchmark does not drive it.`
    : 'it is not on the PATH.'
}
