/** PostgreSQL's port when none is given. */
const DEFAULT_PORT = 5432

export interface HostAndPort {
  host: string
  port: number
}

/**
 * Reads `host[:port]`; an IPv6 address with a port stands in brackets: `[2001:db8::1]:5432`.
 *
 * @returns undefined when it is something else
 */
export function parseHost(text: string, defaultPort = DEFAULT_PORT): HostAndPort | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:@/[\]]+))(?::(\d{1,5}))?$/.exec(text.trim())
  if (!match) return isBareIpv6(text.trim()) ? { host: text.trim(), port: defaultPort } : undefined
  const port = match[3] === undefined ? defaultPort : Number(match[3])
  if (port < 1 || port > 65_535) return undefined
  return { host: (match[1] ?? match[2])!, port }
}

function isBareIpv6(text: string): boolean {
  return /^[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*$/.test(text)
}

/**
 * Reads a source as Azure writes it: `host:port@user`, where the user name may itself contain an `@`
 * (`admin@oldserver`), or the resource id of a server on Azure, which names no user.
 *
 * @returns undefined when it is something else
 */
export function parseServerResourceId(text: string): (HostAndPort & { user?: string }) | undefined {
  const arm =
    /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.DBforPostgreSQL\/(?:servers|flexibleServers)\/([^/]+)\/?$/i
  const server = arm.exec(text.trim())
  if (server) return { host: `${server[1]!.toLowerCase()}.postgres.database.azure.com`, port: DEFAULT_PORT }
  const at = text.indexOf('@')
  const address = parseHost(at === -1 ? text : text.slice(0, at))
  if (!address) return undefined
  if (at === -1) return address
  const user = text.slice(at + 1).trim()
  return user === '' ? undefined : { ...address, user }
}

/** True for the resource id of a server on Azure. */
export function isAzureResourceId(text: string): boolean {
  return text.trimStart().startsWith('/')
}

/** True for the name of a flexible server, in any of Azure's clouds. */
export function isAzureHost(host: string): boolean {
  return /\.postgres\.database\.(azure\.com|usgovcloudapi\.net|chinacloudapi\.cn)\.?$/i.test(host)
}

/** One spelling for one server: names in lower case, this machine's names as one. */
export function sameServer(a: HostAndPort, b: HostAndPort): boolean {
  return a.port === b.port && canonicalHost(a.host) === canonicalHost(b.host)
}

function canonicalHost(host: string): string {
  const lower = host.toLowerCase().replace(/\.$/, '')
  return lower === 'localhost' || lower === '::1' || lower === '[::1]' ? '127.0.0.1' : lower
}
