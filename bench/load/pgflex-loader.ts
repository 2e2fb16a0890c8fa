import { fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dropPublicationAndSlot } from '../../migration/replicate/replication-slot.ts'
import { createTestMigration, type ServerPair } from '../../test/support/servers.ts'
import { DATABASE } from './databases.ts'
import type { Load, LoadOptions } from './loader.ts'
import type { Begin, Ended } from './pgflex-process.ts'

export interface PgflexOptions extends LoadOptions {
  mode: 'Online' | 'Offline'
  /** Options of Node for the process. */
  execArgv: string[]
}

/** The activities of a load, into a database that they make, by ordinary roles. */
export async function loadByPgflex(pair: ServerPair, options: PgflexOptions): Promise<Load & { about: string }> {
  const { jobs, mode, execArgv, signal } = options
  await using migration = await createTestMigration(pair, DATABASE, {
    key: 'bench-load',
    properties: { migrationMode: mode },
    pgflex: { copyJobs: jobs, indexJobs: jobs },
  })
  const { context, folder } = migration
  const child = fork(fileURLToPath(import.meta.resolve(`./pgflex-process${extname(import.meta.url)}`)), [], {
    execArgv,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const kill = (): boolean => child.kill('SIGKILL')
  signal.addEventListener('abort', kill)
  try {
    await once(child, 'message')
    const began = performance.now()
    child.send({ folder, key: context.key, database: DATABASE } satisfies Begin)
    const ended = await new Promise<Ended>((resolve) => {
      child.once('message', (message) => resolve(message as Ended))
      child.once('exit', (code, by) => resolve({ error: `The process ended with ${code ?? by}.` }))
    })
    const seconds = (performance.now() - began) / 1000
    if ('error' in ended) throw new Error(`pgflex has failed: ${ended.error}`)
    // A profile is written at its very end.
    if (child.exitCode === null) await once(child, 'exit')
    const { use, steps, width, dataSeconds } = ended
    const about = `${width} copy activities; ${Object.entries(steps)
      .map(([name, step]) => `${name} ${step.seconds.toFixed(2)} s, ${Math.round(step.peakRssBytes / 1024 ** 2)} MB`)
      .join('; ')}`
    return { loader: 'pgflex', seconds, dataSeconds, own: use, about }
  } finally {
    signal.removeEventListener('abort', kill)
    kill()
    if (mode === 'Online' && !signal.aborted) await dropPublicationAndSlot(context)
  }
}
