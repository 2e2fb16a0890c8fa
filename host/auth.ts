import { createHash, timingSafeEqual, type X509Certificate } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Whether a text is the key, in a time that does not depend on how much of it is right. */
export const isKey = (given: string | undefined, key: string): boolean =>
  given !== undefined && timingSafeEqual(digest(given), digest(key))

/** The key that a request carries: `Authorization: Bearer …`, `x-functions-key`, or `code` in the query. */
export function givenKey(headers: IncomingHttpHeaders, query?: URLSearchParams): string | undefined {
  const [, bearer] = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '') ?? []
  const functionsKey = headers['x-functions-key']
  return bearer ?? (typeof functionsKey === 'string' ? functionsKey : undefined) ?? query?.get('code') ?? undefined
}

const loopbackNames = ['localhost', '127.0.0.1', '::1']

/** Whether an address or name means this machine and nothing else. */
export const isLoopback = (host: string): boolean =>
  loopbackNames.includes(host.toLowerCase()) || /^127(\.\d{1,3}){3}$/.test(host)

export interface Identity {
  /** The name or address that the host was told to listen on. */
  host: string
  port: number
  certificate?: X509Certificate
}

/**
 * Whether the `Host` header names this host. A page of another site can have its own name resolve to 127.0.0.1 and
 * then talk to us with the browser's blessing (DNS rebinding); its name in this header gives it away.
 */
export function isOurHost(header: string | undefined, { host, port, certificate }: Identity): boolean {
  const [, bracketed, plain, givenPort] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(header ?? '') ?? []
  const name = (bracketed ?? plain)?.toLowerCase()
  if (name === undefined || Number(givenPort ?? (certificate ? 443 : 80)) !== port) return false
  return loopbackNames.includes(name) || name === host.toLowerCase() || isInCertificate(name, certificate)
}

function isInCertificate(name: string, certificate: X509Certificate | undefined): boolean {
  if (!certificate) return false
  return (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined
}

/** Whether a request that says where it comes from comes from a page of this host. */
export const isSameOrigin = (origin: string | undefined, host: string | undefined, secure: boolean): boolean =>
  origin === undefined || origin.toLowerCase() === `${secure ? 'https' : 'http'}://${host?.toLowerCase()}`
