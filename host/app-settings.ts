import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { errorMessage } from './sanitize.ts'

/** The settings of host.json that the local host follows; others are for the real host. */
const hostJson = z.object({
  extensions: z
    .object({
      http: z.object({ routePrefix: z.string().optional() }).optional(),
      durableTask: z
        .object({
          hubName: z.string().optional(),
          defaultVersion: z.string().optional(),
          maxConcurrentActivityFunctions: z.number().int().positive().optional(),
          maxConcurrentOrchestratorFunctions: z.number().int().positive().optional(),
        })
        .optional(),
    })
    .optional(),
})

const localSettingsJson = z.object({ Values: z.record(z.string(), z.string()).optional() })

export interface AppSettings {
  root: string
  /** Without slashes at its ends; empty when routes start at the root. */
  routePrefix: string
  hubName: string
  defaultVersion: string | null
  maxConcurrentActivities: number
  maxConcurrentOrchestrators: number
  /** `Values` of local.settings.json: the app's environment on a developer's machine. */
  environment: Record<string, string>
}

export function readAppSettings(root: string): AppSettings {
  const { extensions } = readJson(join(root, 'host.json'), hostJson) ?? {}
  const { Values = {} } = readJson(join(root, 'local.settings.json'), localSettingsJson) ?? {}
  const durable = extensions?.durableTask
  return {
    root,
    routePrefix: (extensions?.http?.routePrefix ?? 'api').replaceAll(/^\/+|\/+$/g, ''),
    hubName: durable?.hubName ?? 'TestHubName',
    defaultVersion: durable?.defaultVersion ?? null,
    // Both defaults are those of the Durable extension.
    maxConcurrentActivities: durable?.maxConcurrentActivityFunctions ?? 10 * availableParallelism(),
    maxConcurrentOrchestrators: durable?.maxConcurrentOrchestratorFunctions ?? 10 * availableParallelism(),
    environment: Values,
  }
}

function readJson<T>(path: string, schema: z.ZodType<T>): T | undefined {
  if (!existsSync(path)) return undefined
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new Error(
      `${path} cannot be used: ${error instanceof z.ZodError ? z.prettifyError(error) : errorMessage(error)}`,
      {
        cause: error,
      },
    )
  }
}
