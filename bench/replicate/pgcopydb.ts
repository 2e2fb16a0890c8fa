import { spawnSync } from 'node:child_process'

/**
 * Why pgcopydb takes no part.
 *
 * Its `follow` belongs to its own `clone`: it wants a slot, a replication origin and a catalog that its own snapshot
 * command has made, and which these are differs between its releases. It can't be pointed at a slot that was
 * made beforehand on the same position as the others, and so has no backlog to drain that is the same.
 */
export function whyNotPgcopydb(): string {
  const { status, stdout } = spawnSync('pgcopydb', ['--version'], { encoding: 'utf8' })
  if (status !== 0) return 'it is not on the PATH.'
  return `${stdout.split('\n')[0]} can not drain a slot that was made beforehand; it follows after a clone of its own only.`
}
