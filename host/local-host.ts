import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sortFunctions } from './app-functions.ts'
import { readAppSettings, type AppSettings } from './app-settings.ts'
import type { Registry } from './core-module.ts'
import { clientBinding } from './durable-client.ts'
import { createEngine } from './engine.ts'
import { openHome, readKey, writeSecretFile, type Home } from './home.ts'
import { parseRoute } from './http-routes.ts'
import { listen, readCertificate } from './http-server.ts'
import { loadApp } from './load-app.ts'
import { createLog, type Log } from './log.ts'
import { createManagementApi } from './management-api.ts'
import { packageRoot, type HostOptions } from './options.ts'
import { createRequestHandler, createRpcHandler } from './request-handler.ts'
import { errorStack } from './sanitize.ts'
import { openDatabase } from './schema.ts'
import { createStore } from './store.ts'
import { createWorker, writeAppLog } from './worker.ts'

export interface LocalHost {
  url: string
  key: string
  stop(signal: string): Promise<void>
}

/** How long a shutdown waits for running activities: they are told at once, and their slices end early. */
const drainMs = 10_000

/**
 * Brings up everything in this process: the home, the app, the engine, the servers.
 *
 * An exception that nobody catches leaves the process in an unknown state, so the host ends with exit code 1, as the
 * real worker does. Whoever starts it again finds everything going on from its last step.
 */
export async function startLocalHost(options: HostOptions): Promise<LocalHost> {
  const log = createLog(options)
  const crash = (error: unknown): never => {
    log.error('the host stops after an error that nothing has caught; start it again and it goes on', {
      error: errorStack(error),
    })
    process.exit(1)
  }
  process.on('uncaughtException', crash)

  const settings = readAppSettings(options.app)
  const home = openHome(options.home)
  const key = readKey(home, options.key)
  setEnvironment(settings, options, home)

  const registry: Registry = await loadApp(settings, (level, category, message) =>
    writeAppLog(registry, log, level, category, message),
  )
  const functions = sortFunctions(registry.functions)
  for (const { metadata, trigger } of functions.unsupported)
    log.warn('the local host never runs this function: it has no such trigger', {
      function: metadata.name,
      trigger: trigger.type,
    })

  const invoke = createWorker(registry, log)
  const store = createStore(openDatabase(home.database))
  const engine = createEngine({ store, functions, settings, invoke, log, runTwice: options.runTwice, crash })

  const certificate = readCertificate(options.tls)
  const scheme = certificate ? 'https' : 'http'
  const { hubName, defaultVersion } = settings
  let port = options.port
  let draining = false
  const origin = () => `${scheme}://${urlHost(options.host)}:${port}`
  const management = createManagementApi({ engine, hubName, defaultVersion, key, origin })

  // The client in the app is given plain HTTP on loopback: it could not check a certificate of ours.
  const rpcPath = `/runtime/rpc/${randomBytes(24).toString('base64url')}/durabletask`
  const rpc = await listen({ host: '127.0.0.1', port: 0, handler: createRpcHandler(management, rpcPath), log })
  const rpcBaseUrl = `http://127.0.0.1:${rpc.port}${rpcPath}/`

  const server = await listen({
    host: options.host,
    port,
    tls: options.tls,
    log,
    handler: createRequestHandler({
      version: readVersion(),
      key,
      identity: () => ({ host: options.host, port, certificate }),
      routes: functions.http.map((f) =>
        parseRoute(`${settings.routePrefix}/${f.trigger.route ?? f.metadata.name}`, f.trigger.methods, f),
      ),
      management,
      clientBinding: () => clientBinding(origin(), hubName, key, rpcBaseUrl),
      isDraining: () => draining,
      invoke,
      log,
    }),
  })
  port = server.port
  process.env['WEBSITE_HOSTNAME'] = `${urlHost(options.host)}:${port}`
  writeSecretFile(home.urlFile, origin())
  engine.resume()

  return {
    url: origin(),
    key,
    async stop(signal) {
      draining = true
      log.info('shutting down', { signal })
      const hooks = runTerminateHooks(registry, log)
      const [left] = await Promise.all([engine.drain(drainMs), server.close(drainMs), withTimeout(hooks, drainMs)])
      if (left > 0) log.warn('activities are interrupted; they run again at the next start', { activities: left })
      await rpc.close(100)
      store.db.close()
      home.release()
    },
  }
}

async function runTerminateHooks({ hooks }: Registry, log: Log): Promise<void> {
  const context = { hookData: {}, appHookData: {} }
  await Promise.all(
    hooks.appTerminate.map(async (hook) => {
      try {
        await hook(context)
      } catch (error) {
        log.error('an appTerminate hook failed', { error: errorStack(error) })
      }
    }),
  )
}

async function withTimeout(work: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([work, promise])
  clearTimeout(timer)
}

/** What an app finds in its environment on the real host, and where our home is. */
function setEnvironment({ environment }: AppSettings, { host, port }: HostOptions, home: Home): void {
  const { env } = process
  for (const [name, value] of Object.entries(environment)) env[name] ??= value
  env['FUNCTIONS_WORKER_RUNTIME'] = 'node'
  env['AZURE_FUNCTIONS_ENVIRONMENT'] ??= 'Development'
  env['WEBSITE_HOSTNAME'] = `${urlHost(host)}:${port}`
  env['PGFLEX_HOME'] = home.path
  // DurableClient would send even loopback requests to a proxy from the environment.
  const noProxy = [env['NO_PROXY'] ?? env['no_proxy'], '127.0.0.1', 'localhost'].filter(Boolean).join(',')
  env['NO_PROXY'] = noProxy
  env['no_proxy'] = noProxy
}

/** The host part of a URL that reaches us: the address for all interfaces is none that can be called. */
function urlHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

const readVersion = () =>
  (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version
