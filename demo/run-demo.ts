import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHost } from '../host/start-host.ts'
import type { Migration } from '../migration/model/migration-resource.ts'
import { compareDatabases } from './compare.ts'
import type { EmbeddedServer } from './embedded-postgres.ts'
import { migrationClient } from './migration-client.ts'
import { cutOver, waitForReady, waitForSucceeded, watchFor } from './migration-watch.ts'
import type { DemoOptions } from './options.ts'
import { startDisplay } from './progress.ts'
import { createRoles, SOURCE_USER, TARGET_USER, type RolePasswords } from './roles.ts'
import { SAMPLE_DATABASES, type SampleDatabase } from './sample-database.ts'
import { createSource, howToConnect, serverVersion, startServers, startWorkloads } from './sample-servers.ts'
import type { DatabaseResult, DemoResult } from './summary.ts'
import type { Workload } from './workload.ts'

/**
 * The whole demo: two servers, a workload, a migration over the public API, cutover, comparison. Ends with
 * everything stopped and removed, also when it fails or is aborted.
 *
 * @param report gets the result; with `keep`, servers and page stay up after it until `signal` is aborted
 */
export async function runDemo(
  options: DemoOptions,
  signal: AbortSignal,
  report: (result: DemoResult) => void,
): Promise<void> {
  const display = startDisplay(process.stderr)
  const watch = stopwatch()
  await using folder = temporaryFolder()
  display.say(`Starting PostgreSQL ${options.sourceMajor} and ${options.targetMajor} with sample data ...`)
  await using servers = await startServers(options)
  const { source, target } = servers
  signal.throwIfAborted()
  const passwords = await createRoles(source, target)
  await createSource(source, passwords)
  signal.throwIfAborted()
  await using workloads = startWorkloads(source, passwords)
  await using host = await startHost({ home: join(folder.path, 'home') })
  const page = `${host.url}/#key=${encodeURIComponent(host.key)}`
  display.say(`The page is at ${page}`)
  const api = migrationClient(host, signal)
  const preparation = watch.lap()

  let ended: Migration
  let copy: number, following: number
  try {
    await api.create(migrationProperties(source, target, passwords))
    const watched = { api, display, signal }
    await waitForReady(watched)
    copy = watch.lap()
    display.say(`Ready for cutover; the workload goes on for ${options.seconds} s ...`)
    await watchFor(watched, options.seconds)
    following = watch.lap()
    display.say('Cutting over ...')
    await cutOver(watched)
    ended = await waitForSucceeded(watched)
  } catch (error) {
    if (!signal.aborted) display.say(`The last lines of the host:\n${host.output().split('\n').slice(-30).join('\n')}`)
    throw error
  }
  const cutover = watch.lap()
  await workloads.stop()
  if (options.break) await breakOneRow(target)
  display.say('Comparing source and target ...')
  const databases: DatabaseResult[] = []
  for (const database of SAMPLE_DATABASES) {
    databases.push(await databaseResult(source, target, database, ended, workloads.of(database)))
    signal.throwIfAborted()
  }
  const seconds = { preparation, copy, following, cutover, comparison: watch.lap(), total: watch.total() }
  report({
    ok: databases.every(
      ({ comparison }) => comparison.equal && comparison.commits.missing + comparison.commits.unexpected === 0,
    ),
    sourceVersion: await serverVersion(source),
    targetVersion: await serverVersion(target),
    seconds,
    databases,
    downtimeSeconds: greatest(databases.map((one) => one.downtimeSeconds)),
    greatestLatencySeconds: greatest(databases.map((one) => one.greatestLatencySeconds)),
    warnings: ended.properties.currentStatus.pgflex.warnings,
    page,
  })
  if (options.keep) {
    display.say(howToConnect(folder.path, source, target, passwords))
    await aborted(signal)
  }
  await host.stop()
}

function migrationProperties(source: EmbeddedServer, target: EmbeddedServer, passwords: RolePasswords): object {
  return {
    migrationMode: 'Online',
    migrationOption: 'ValidateAndMigrate',
    sourceType: 'OnPremises',
    sslMode: 'Prefer',
    sourceDbServerResourceId: `${source.host}:${source.port}@${SOURCE_USER}`,
    targetDbServerFullyQualifiedDomainName: `${target.host}:${target.port}`,
    secretParameters: {
      adminCredentials: {
        sourceServerPassword: passwords.sourcePassword,
        targetServerPassword: passwords.targetPassword,
      },
      sourceServerUsername: SOURCE_USER,
      targetServerUsername: TARGET_USER,
    },
    dbsToMigrate: SAMPLE_DATABASES,
    overwriteDbsInTarget: 'False',
  }
}

async function databaseResult(
  source: EmbeddedServer,
  target: EmbeddedServer,
  database: SampleDatabase,
  { properties }: Migration,
  workload: Workload,
): Promise<DatabaseResult> {
  await using ours = await source.connect(database)
  await using theirs = await target.connect(database)
  const comparison = await compareDatabases(ours, theirs)
  const detail = properties.currentStatus.currentSubStateDetails.dbDetails[database]
  const { progress, maxLatencySeconds, cutover } = detail?.pgflex ?? {}
  return {
    database,
    tables: detail?.fullLoadCompletedTables ?? 0,
    rowsCopied: progress?.rowsDone ?? 0,
    changesApplied: detail?.appliedChanges ?? 0,
    greatestLatencySeconds: maxLatencySeconds ?? null,
    downtimeSeconds: cutover?.downtimeSeconds ?? null,
    cutoverSteps: (cutover?.steps ?? []).map(({ name, startedAt, endedAt }) => ({
      name,
      seconds: (Date.parse(endedAt ?? startedAt) - Date.parse(startedAt)) / 1000,
    })),
    workload: workload.stats(),
    comparison: { ...comparison, commits: await workload.checkAcknowledged(theirs) },
  }
}

/** What no migration may overlook. */
async function breakOneRow(target: EmbeddedServer): Promise<void> {
  await using admin = await target.connect('shop')
  await admin.query(`update shop.country set name = name || '!' where code = (select min(code) from shop.country)`)
}

function temporaryFolder(): AsyncDisposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'pgflex-demo-'))
  return { path, [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) }
}

function stopwatch(): { lap(): number; total(): number } {
  const began = performance.now()
  let last = began
  return {
    lap() {
      const now = performance.now()
      const seconds = Math.round(now - last) / 1000
      last = now
      return seconds
    },
    total: () => Math.round(performance.now() - began) / 1000,
  }
}

function greatest(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : Math.max(...known)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
