import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'

/** Stands between a client and a server, and breaks their connections as a network does: without a word. */
export interface TcpRelay extends AsyncDisposable {
  port: number
  /** Resets every connection that is open. @returns how many there were */
  breakConnections(): number
  /** Takes connections and bytes and passes nothing on, as a server that hangs, until it is told to answer. */
  hang(): void
  answer(): void
}

export async function startTcpRelay(server: { host: string; port: number }): Promise<TcpRelay> {
  const pairs = new Set<[Socket, Socket]>()
  let hangs = false
  const join = ([client, upstream]: [Socket, Socket]): void => {
    client.pipe(upstream)
    upstream.pipe(client)
  }
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: server.host, port: server.port, allowHalfOpen: true })
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    if (!hangs) join(pair)
    for (const [from, to] of [pair, pair.toReversed() as typeof pair]) {
      from.setNoDelay(true)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const breakConnections = (): number => {
    const broken = pairs.size
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
    return broken
  }
  return {
    port: (listener.address() as AddressInfo).port,
    breakConnections,
    hang() {
      hangs = true
      for (const pair of pairs) for (const socket of pair) socket.unpipe().pause()
    },
    answer() {
      hangs = false
      for (const pair of pairs) join(pair)
    },
    async [Symbol.asyncDispose]() {
      listener.close()
      breakConnections()
      await once(listener, 'close')
    },
  }
}
