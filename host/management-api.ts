import { randomUUID } from 'node:crypto'
import { instanceIdProblem } from './decide-step.ts'
import { managementUrls } from './durable-client.ts'
import type { Engine } from './engine.ts'
import { EventType, stamp, type Message } from './history.ts'
import type { HttpAnswer } from './http-answer.ts'
import { instanceStatus } from './instance-status.ts'
import { isTerminal, runtimeStatuses, type Instance, type InstanceFilter } from './store.ts'

export interface ManagementRequest {
  method: string
  /** Below the base, decoded: `['instances', 'abc', 'raiseEvent', 'Cutover']`. */
  path: string[]
  query: URLSearchParams
  contentType: string
  continuationToken?: string
  body: string
}

export interface ManagementOptions {
  engine: Engine
  hubName: string
  /** Of instances that are started without a version. */
  defaultVersion: string | null
  key: string
  /** Origin of the URLs in answers. */
  origin: () => string
}

const defaultPageSize = 100
const json = (status: number, body: unknown, headers: Record<string, string> = {}): HttpAnswer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  body: JSON.stringify(body),
})
const empty = (status: number): HttpAnswer => ({ status, headers: {}, body: '' })
const problem = (status: number, message: string) => json(status, { Message: message, ExceptionMessage: message })

/**
 * The HTTP API of the Durable extension, as far as DurableClient uses it: start, status, list, events, terminate,
 * suspend, resume, restart and purge. Rewind and entities are answered with 501.
 */
export function createManagementApi({ engine, hubName, defaultVersion, key, origin }: ManagementOptions) {
  const { store, functions } = engine

  return async function handle(request: ManagementRequest): Promise<HttpAnswer> {
    const { method, path } = request
    const [collection, first, verb, name] = path
    if (collection === 'orchestrators' && method === 'POST' && first) return start(request, first, verb)
    if (collection === 'entities') return problem(501, 'The local host does not support entities.')
    if (collection !== 'instances') return empty(404)
    if (!first) return method === 'GET' ? list(request) : method === 'DELETE' ? purgeMany(request) : empty(404)

    const instance = store.instance(first)
    if (!instance)
      return method === 'DELETE' || verb ? problem(404, `No instance with ID '${first}' found.`) : empty(404)
    if (!verb) return method === 'GET' ? status(request, instance) : method === 'DELETE' ? purge(instance) : empty(404)
    if (method !== 'POST') return empty(404)
    return command(request, instance, verb.toLowerCase(), name)
  }

  async function start({ query, body }: ManagementRequest, name: string, id = randomUUID().replaceAll('-', '')) {
    const orchestrator = functions.orchestrator(name)
    if (!orchestrator)
      return problem(400, `The function '${name}' doesn't exist, is disabled, or is not an orchestrator function.`)
    const idProblem = instanceIdProblem(id)
    if (idProblem) return problem(400, idProblem)
    if (body !== '' && !isJson(body)) return problem(400, 'The body is not valid JSON.')

    const input = body === '' ? null : body
    const started = engine.start({
      id,
      name: orchestrator.metadata.name,
      version: query.get('version') ?? defaultVersion,
      input,
    })
    if (!started) return problem(409, `An orchestration instance with ID '${id}' is running already.`)

    const timeoutSeconds = Number(query.get('timeout') ?? 0)
    if (timeoutSeconds > 0) {
      await engine.ended(id, Math.min(timeoutSeconds, 3600) * 1000)
      const instance = store.instance(id)
      if (instance && isTerminal(instance.status)) return json(200, JSON.parse(instance.output ?? 'null'))
    }
    return accepted(id)
  }

  function accepted(id: string): HttpAnswer {
    const urls = managementUrls(origin(), hubName, key, id)
    return json(202, urls, { location: urls.statusQueryGetUri, 'retry-after': '10' })
  }

  function status({ query }: ManagementRequest, instance: Instance): HttpAnswer {
    const options = {
      showInput: showsInput(query),
      showHistory: flag(query, 'showHistory'),
      showHistoryOutput: flag(query, 'showHistoryOutput'),
    }
    const body = instanceStatus(instance, options.showHistory ? store.history(instance.id) : [], options)
    if (!isTerminal(instance.status)) {
      const { statusQueryGetUri } = managementUrls(origin(), hubName, key, instance.id)
      return json(202, body, { location: statusQueryGetUri, 'retry-after': '5' })
    }
    return json(instance.status === 'Failed' && flag(query, 'returnInternalServerErrorOnFailure') ? 500 : 200, body)
  }

  function list({ query, continuationToken }: ManagementRequest): HttpAnswer {
    const size = Math.max(1, Math.min(Number(query.get('top') ?? defaultPageSize) || defaultPageSize, 1000))
    const found = store.listInstances(filterOf(query), readToken(continuationToken), size + 1)
    const page = found.slice(0, size)
    const last = found.length > size ? page.at(-1) : undefined
    const options = { showInput: showsInput(query), showHistory: false, showHistoryOutput: false }
    const body = page.map((instance) => instanceStatus(instance, [], options))
    return json(200, body, last ? { 'x-ms-continuation-token': writeToken(last) } : {})
  }

  function command(
    { query, body, contentType }: ManagementRequest,
    instance: Instance,
    verb: string,
    name: string | undefined,
  ): HttpAnswer {
    const { id } = instance
    const reason = query.get('reason')
    switch (verb) {
      case 'raiseevent':
        if (!name) return problem(400, 'The name of the event is missing.')
        if (!contentType.toLowerCase().startsWith('application/json'))
          return problem(400, 'Only application/json request content is supported.')
        if (!isJson(body)) return problem(400, 'The body is not valid JSON.')
        return tell(instance, { ...stamp(new Date()), EventType: EventType.EventRaised, Name: name, Input: body })
      case 'terminate': {
        const Input = JSON.stringify(reason ?? '')
        return tell(instance, { ...stamp(new Date()), EventType: EventType.ExecutionTerminated, Input })
      }
      case 'suspend':
        return tell(instance, { ...stamp(new Date()), EventType: EventType.ExecutionSuspended, Reason: reason })
      case 'resume':
        return tell(instance, { ...stamp(new Date()), EventType: EventType.ExecutionResumed, Reason: reason })
      case 'restart': {
        if (!isTerminal(instance.status)) return problem(409, `The instance '${id}' is running.`)
        const newId = query.get('restartWithNewInstanceId') === 'false' ? id : randomUUID().replaceAll('-', '')
        engine.start({ id: newId, name: instance.name, version: instance.version, input: instance.input })
        return accepted(newId)
      }
      case 'rewind':
        return json(501, 'The local host does not support rewind. Start the orchestration again.')
      default:
        return empty(404)
    }
  }

  function tell(instance: Instance, message: Message): HttpAnswer {
    if (isTerminal(instance.status)) return problem(410, `The instance '${instance.id}' has ended.`)
    engine.send(instance.id, message)
    return empty(202)
  }

  function purge(instance: Instance): HttpAnswer {
    if (!isTerminal(instance.status))
      return problem(404, `The instance '${instance.id}' has not ended. Only ended instances are purged.`)
    forget([instance])
    return json(200, { instancesDeleted: 1 })
  }

  function purgeMany({ query }: ManagementRequest): HttpAnswer {
    if (!query.get('createdTimeFrom')) return problem(400, 'Please provide value for createdTimeFrom.')
    const filter = filterOf(query)
    const found = store
      .listInstances(filter, undefined, Number.MAX_SAFE_INTEGER)
      .filter((instance) => isTerminal(instance.status))
    if (found.length === 0) return problem(404, 'No ended instance matches.')
    forget(found)
    return json(200, { instancesDeleted: found.length })
  }

  function forget(instances: Instance[]): void {
    store.transaction(() => {
      for (const { id } of instances) {
        store.clearInstance(id)
        store.deleteInstance(id)
      }
    })
  }
}

const flag = (query: URLSearchParams, name: string) => query.get(name)?.toLowerCase() === 'true'

const showsInput = (query: URLSearchParams) => query.get('showInput')?.toLowerCase() !== 'false'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function filterOf(query: URLSearchParams): InstanceFilter {
  const date = (name: string) => {
    const time = Date.parse(query.get(name) ?? '')
    return Number.isNaN(time) ? undefined : new Date(time).toISOString()
  }
  const wanted = (query.get('runtimeStatus') ?? '').toLowerCase().split(',').filter(Boolean)
  return {
    createdTimeFrom: date('createdTimeFrom'),
    createdTimeTo: date('createdTimeTo'),
    idPrefix: query.get('instanceIdPrefix') ?? undefined,
    // A status that no instance can have here (Canceled, ContinuedAsNew) must not turn into "every status".
    statuses: wanted.map((name) => runtimeStatuses.find((known) => known.toLowerCase() === name) ?? name),
  }
}

const writeToken = ({ createdAt, id }: Instance) => Buffer.from(JSON.stringify({ createdAt, id })).toString('base64url')

function readToken(token: string | undefined): { createdAt: string; id: string } | undefined {
  if (!token) return undefined
  try {
    const { createdAt, id } = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>
    return typeof createdAt === 'string' && typeof id === 'string' ? { createdAt, id } : undefined
  } catch {
    return undefined
  }
}
