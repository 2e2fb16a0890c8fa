import { startTlsServer, TOKEN, type Answer, type Request, type TlsServer } from './tls-server.ts'

type State = 'live' | 'deleting' | 'deleted' | 'recovering' | 'purging'

interface Secret {
  value: string
  state: State
  /** Requests for it that still find it under way. */
  under: number
}

export interface FakeKeyVault extends TlsServer {
  secrets: Map<string, Secret>
  /** `Recoverable` is a vault with purge protection. */
  recoveryLevel: string
  /** False: the identity has no role on the vault. */
  allowed: boolean
  /** How many requests a deletion, recovery or purge takes. */
  slowness: number
}

/** What a vault with soft delete answers, in its shapes, with deletions, recoveries and purges that take their time. */
export async function startFakeKeyVault(): Promise<FakeKeyVault> {
  const secrets = new Map<string, Secret>()
  const server = await startTlsServer((request) => answer(request))
  const vault: FakeKeyVault = Object.assign(server, {
    secrets,
    recoveryLevel: 'CustomizedRecoverable+Purgeable',
    allowed: true,
    slowness: 2,
  })

  function answer({ method, path, headers, body }: Request): Answer {
    if (headers.authorization !== `Bearer ${TOKEN}`) {
      const challenge = 'Bearer authorization="https://login.windows.net/tenant", resource="https://vault.azure.net"'
      return { ...error(401, 'Unauthorized', 'AKV10000: no token'), headers: { 'WWW-Authenticate': challenge } }
    }
    if (!vault.allowed)
      return error(403, 'Forbidden', 'Caller is not authorized to perform action on resource.\r\nx: y')
    const [, kind, name, action] = path.split('/') as [string, string, string, string | undefined]
    const secret = settle(name)
    if (kind === 'secrets' && method === 'PUT') {
      if (secret && secret.state !== 'live') return conflict(name, secret.state)
      secrets.set(name, { value: (JSON.parse(body) as { value: string }).value, state: 'live', under: 0 })
      return ok(bundle(name))
    }
    if (kind === 'secrets' && method === 'GET') return secret?.state === 'live' ? ok(bundle(name)) : missing(name)
    if (kind === 'secrets' && method === 'DELETE') {
      if (secret?.state !== 'live') return missing(name)
      become(secret, 'deleting')
      return ok(deletedBundle(name))
    }
    if (kind === 'deletedsecrets' && action === 'recover') {
      if (secret?.state !== 'deleted') return missing(name)
      become(secret, 'recovering')
      return ok(bundle(name))
    }
    if (secret?.state !== 'deleted') return missing(name)
    if (method === 'GET') return ok(deletedBundle(name))
    if (!vault.recoveryLevel.includes('Purgeable')) return error(403, 'Forbidden', 'Purge protection is enabled.')
    become(secret, 'purging')
    return { status: 204 }
  }

  function become(secret: Secret, state: State): void {
    secret.state = state
    secret.under = vault.slowness
  }

  /** Brings what is under way one request further. */
  function settle(name: string): Secret | undefined {
    const secret = secrets.get(name)
    if (!secret || secret.under-- > 0) return secret
    if (secret.state === 'deleting') secret.state = 'deleted'
    if (secret.state === 'recovering') secret.state = 'live'
    if (secret.state === 'purging') secrets.delete(name)
    return secrets.get(name)
  }

  const bundle = (name: string) => ({
    value: secrets.get(name)!.value,
    id: `${server.url}/secrets/${name}/4387e9f3d6e14c459867679a90fd0f79`,
    attributes: { enabled: true, created: 1_493_938_410, updated: 1_493_938_410, recoveryLevel: vault.recoveryLevel },
  })
  const deletedBundle = (name: string) => ({
    ...bundle(name),
    value: undefined,
    recoveryId: `${server.url}/deletedsecrets/${name}`,
    deletedDate: 1_493_938_433,
    scheduledPurgeDate: 1_501_714_433,
  })
  return vault
}

const json = { 'content-type': 'application/json' }
const ok = (body: unknown): Answer => ({ status: 200, headers: json, body: JSON.stringify(body) })
const error = (status: number, code: string, message: string, innererror?: { code: string }): Answer => ({
  status,
  headers: json,
  body: JSON.stringify({ error: { code, message, innererror } }),
})
const missing = (name: string): Answer =>
  error(404, 'SecretNotFound', `A secret with (name/id) ${name} was not found in this key vault.`)
const conflict = (name: string, state: State): Answer =>
  error(409, 'Conflict', `Secret ${name} is currently in a state that does not allow this.`, {
    code: state === 'deleted' ? 'ObjectIsDeletedButRecoverable' : 'ObjectIsBeingDeleted',
  })
