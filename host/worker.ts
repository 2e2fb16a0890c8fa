import { randomUUID } from 'node:crypto'
import type { Registry, RegisteredFunction } from './core-module.ts'
import type { CoreInvocationContext, FunctionCallback, LogCategory, LogLevel, RpcTypedData } from './core-types.ts'
import type { Log } from './log.ts'

export interface InvocationInput {
  /** By binding name; the trigger's value first. */
  inputData: { name: string; data: RpcTypedData }[]
  triggerMetadata?: Record<string, RpcTypedData>
}

export interface InvocationOutput {
  /** What the handler returned, as it is: the Durable handlers return objects whose identity says something. */
  result: unknown
  returnValue: RpcTypedData | null | undefined
}

export type Invoke = (registered: RegisteredFunction, input: InvocationInput) => Promise<InvocationOutput>

/** Runs a function by the pipeline of the Functions Node worker: arguments, hooks, the call, hooks, the response. */
export function createWorker(registry: Registry, log: Log): Invoke {
  const model = registry.programmingModel
  if (!model) throw new Error('The app has set no programming model.')
  const appHookData = {}

  return async function invoke({ metadata, callback }, { inputData, triggerMetadata = {} }) {
    const invocationId = randomUUID()
    const coreContext: CoreInvocationContext = {
      invocationId,
      request: { invocationId, functionId: metadata.functionId ?? metadata.name, inputData, triggerMetadata },
      metadata,
      log: (level, category, message) => writeAppLog(registry, log, level, category, message, metadata.name),
    }
    const invocation = model.getInvocationModel(coreContext)
    const { context, inputs } = await invocation.getArguments()

    const before = { hookData: {}, appHookData, invocationContext: context, functionCallback: callback, inputs }
    coreContext.state = 'preInvocationHooks'
    for (const hook of registry.hooks.preInvocation) await hook(before)

    const after: { result: unknown; error: unknown } & Record<string, unknown> = {
      ...before,
      result: undefined,
      error: undefined,
    }
    coreContext.state = 'invocation'
    try {
      const handler: FunctionCallback = before.functionCallback
      after.result = await invocation.invokeFunction(context, before.inputs, handler)
    } catch (error) {
      after.error = error ?? new Error('The function threw nothing.')
    }
    coreContext.state = 'postInvocationHooks'
    for (const hook of registry.hooks.postInvocation) await hook(after)

    if (after.error !== undefined && after.error !== null) throw after.error
    const { returnValue } = await invocation.getResponse(context, after.result)
    return { result: after.result, returnValue }
  }
}

/** Writes what the app logs; its log hooks may change level and message. */
export function writeAppLog(
  registry: Registry,
  log: Log,
  level: LogLevel,
  category: LogCategory,
  message: string,
  functionName?: string,
): void {
  const entry = { level, message, category }
  for (const hook of registry.hooks.log) hook(entry)
  const values = { function: functionName }
  if (entry.level === 'error' || entry.level === 'critical') log.error(entry.message, values)
  else if (entry.level === 'warning') log.warn(entry.message, values)
  else if (entry.level === 'information' && category === 'user') log.info(entry.message, values)
  else if (entry.level !== 'none') log.debug(entry.message, values)
}
