import { Module } from 'node:module'
import {
  hookNames,
  type Disposable,
  type FunctionCallback,
  type FunctionMetadata,
  type HookCallback,
  type HookName,
  type LogCategory,
  type LogLevel,
  type ProgrammingModel,
} from './core-types.ts'

export interface RegisteredFunction {
  metadata: FunctionMetadata
  callback: FunctionCallback
  /** The binding that starts the function, and the name under which its value is handed over. */
  trigger: { name: string; type: string; authLevel: string; methods: string[]; route?: string }
}

/** What the app has registered through the core module. */
export interface Registry {
  functions: RegisteredFunction[]
  hooks: Record<HookName, HookCallback[]>
  programmingModel?: ProgrammingModel
  /** Registration ends when the app has been loaded; a later attempt throws, as in the real worker. */
  locked: boolean
}

export type WriteLog = (level: LogLevel, category: LogCategory, message: string) => void

export const createRegistry = (): Registry => ({
  functions: [],
  hooks: { preInvocation: [], postInvocation: [], appStart: [], appTerminate: [], log: [] },
  locked: false,
})

/**
 * Puts `@azure/functions-core` in place, the way the Functions Node worker does: there is no such package, every
 * `require` of that name is answered with our object. ES modules are covered too, because
 * `import '@azure/functions'` loads a CommonJS build. Call it before the app is loaded: `@azure/functions` keeps the
 * first answer for ever.
 */
export function installCoreModule(registry: Registry, log: WriteLog): void {
  const core = coreModule(registry, log)
  const prototype = Module.prototype as { require: (id: string) => unknown }
  prototype.require = new Proxy(prototype.require, {
    apply: (target, self, args: [string]) =>
      args[0] === '@azure/functions-core' ? core : (Reflect.apply(target, self, args) as unknown),
  })
}

/** An error that `@azure/functions` tells from one of the app by this mark. */
const systemError = (error: Error) => Object.assign(error, { isAzureFunctionsSystemError: true })

function coreModule(registry: Registry, log: WriteLog) {
  return {
    version: '3.14.1',
    hostVersion: '4.1048.0',
    registerFunction(metadata: FunctionMetadata, callback: FunctionCallback): Disposable {
      const id = metadata.functionId ?? metadata.name
      if (registry.locked)
        throw systemError(new Error(`Function "${metadata.name}" is registered after the app has started.`))
      if (registry.functions.some((other) => (other.metadata.functionId ?? other.metadata.name) === id))
        throw systemError(new Error(`A function with id "${id}" is registered twice.`))
      const registered = { metadata, callback, trigger: triggerOf(metadata) }
      registry.functions.push(registered)
      return { dispose: () => remove(registry.functions, registered) }
    },
    registerHook(name: string, callback: HookCallback): Disposable {
      const hookName = hookNames.find((known) => known === name)
      if (!hookName) throw systemError(new RangeError(`Unrecognized hook "${name}".`))
      registry.hooks[hookName].push(callback)
      return { dispose: () => remove(registry.hooks[hookName], callback) }
    },
    setProgrammingModel: (model: ProgrammingModel) => (registry.programmingModel = model),
    getProgrammingModel: () => registry.programmingModel,
    log,
    Disposable: class {
      dispose: () => void
      constructor(dispose: () => void) {
        this.dispose = dispose
      }
    },
  }
}

function triggerOf(metadata: FunctionMetadata): RegisteredFunction['trigger'] {
  const found = Object.entries(metadata.bindings).find(([, binding]) => /trigger$/i.test(binding.type))
  if (!found) throw systemError(new Error(`Function "${metadata.name}" has no trigger.`))
  const [name, { type, authLevel = 'anonymous', methods = [], route }] = found
  return { name, type: type.toLowerCase(), authLevel, methods: methods.map((method) => method.toUpperCase()), route }
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item)
  if (index >= 0) list.splice(index, 1)
}
