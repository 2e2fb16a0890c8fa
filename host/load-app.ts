import { globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { AppSettings } from './app-settings.ts'
import { createRegistry, installCoreModule, type Registry, type WriteLog } from './core-module.ts'
import { errorMessage } from './sanitize.ts'

/** Loads the app's entry files, runs its start hooks and ends registration, in the order of the real worker. */
export async function loadApp({ root }: AppSettings, log: WriteLog): Promise<Registry> {
  const registry = createRegistry()
  installCoreModule(registry, log)
  for (const file of entryFiles(root)) await loadFile(root, file)

  const appHookData = {}
  for (const hook of registry.hooks.appStart) await hook({ functionAppDirectory: root, hookData: {}, appHookData })
  registry.locked = true
  if (!registry.programmingModel) throw new Error(`The app in ${root} registers no function.`)
  const capabilities = await registry.programmingModel.getCapabilities?.({})
  if (capabilities?.['HttpUri'])
    throw new Error('The app turns on enableHttpStream, which the local host does not support.')
  return registry
}

/** `main` of package.json is a glob, relative to the app's root: that is where Functions finds the entry files. */
function entryFiles(root: string): string[] {
  const { main } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { main?: string }
  if (!main) throw new Error(`${join(root, 'package.json')} has no "main" that names the files with the functions.`)
  const files = globSync(main, { cwd: root }).toSorted()
  if (files.length === 0) throw new Error(`No file matches "${main}" in ${root}. Has the app been built?`)
  return files
}

async function loadFile(root: string, file: string): Promise<void> {
  const path = join(root, file)
  try {
    if (/\.c[jt]s$/.test(path)) createRequire(path)(path)
    else await import(pathToFileURL(path).href)
  } catch (error) {
    throw new Error(`The app's file ${file} cannot be loaded: ${errorMessage(error)}`, {
      cause: error,
    })
  }
}
