/**
 * The part of `@azure/functions-core` that the local host provides.
 *
 * That module is no npm package: the Functions worker injects it, and its types are not published either. What
 * stands here is what `@azure/functions` 4.16 calls.
 */

/** A value on its way between host and function; exactly one member is set. */
export interface RpcTypedData {
  string?: string
  json?: string
  bytes?: Uint8Array
  int?: number
  double?: number
  http?: RpcHttpData
}

export interface RpcHttpCookie {
  name: string
  value: string
  domain?: { value: string } | null
  path?: { value: string } | null
  expires?: { value: { seconds: number } } | null
  secure?: { value: boolean } | null
  httpOnly?: { value: boolean } | null
  sameSite?: 'none' | 'lax' | 'strict' | 'explicitNone'
  maxAge?: { value: number } | null
}

/** A request (method, url, query, params) or a response (statusCode, cookies) of an HTTP function. */
export interface RpcHttpData {
  method?: string
  url?: string
  headers?: Record<string, string>
  params?: Record<string, string>
  query?: Record<string, string>
  statusCode?: string
  cookies?: RpcHttpCookie[]
  body?: RpcTypedData | null
}

export interface Binding {
  type: string
  direction: 'in' | 'out'
  authLevel?: string
  methods?: string[]
  route?: string
}

export interface FunctionMetadata {
  name: string
  functionId?: string
  bindings: Record<string, Binding>
}

export type FunctionCallback = (...args: unknown[]) => unknown

export type LogLevel = 'trace' | 'debug' | 'information' | 'warning' | 'error' | 'critical' | 'none'
export type LogCategory = 'user' | 'system' | 'customMetric'

export const hookNames = ['preInvocation', 'postInvocation', 'appStart', 'appTerminate', 'log'] as const
export type HookName = (typeof hookNames)[number]
export type HookCallback = (context: Record<string, unknown>) => unknown

export interface Disposable {
  dispose(): void
}

export interface CoreInvocationContext {
  invocationId: string
  request: {
    invocationId: string
    functionId: string
    inputData: { name: string; data: RpcTypedData }[]
    triggerMetadata: Record<string, RpcTypedData>
  }
  metadata: FunctionMetadata
  state?: 'preInvocationHooks' | 'postInvocationHooks' | 'invocation'
  log(level: LogLevel, category: LogCategory, message: string): void
}

export interface InvocationModel {
  getArguments(): Promise<{ context: unknown; inputs: unknown[] }>
  invokeFunction(context: unknown, inputs: unknown[], callback: FunctionCallback): Promise<unknown>
  getResponse(context: unknown, result: unknown): Promise<{ returnValue?: RpcTypedData | null }>
}

export interface ProgrammingModel {
  name: string
  version: string
  getInvocationModel(context: CoreInvocationContext): InvocationModel
  getCapabilities?(capabilities: Record<string, string>): Promise<Record<string, string>>
}
