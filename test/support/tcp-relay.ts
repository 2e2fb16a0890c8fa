import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'

/** Stands between a client and a server, and breaks their connections as a network does: without a word. */
export interface TcpRelay extends AsyncDisposable {
  port: number
  /** Resets every connection that is open. @returns how many there were */
  breakConnections(): number
}

export async function startTcpRelay(server: { host: string; port: number }): Promise<TcpRelay> {
  const pairs = new Set<[Socket, Socket]>()
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: server.host, port: server.port, allowHalfOpen: true })
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    for (const [from, to] of [pair, pair.toReversed() as typeof pair]) {
      from.setNoDelay(true)
      from.pipe(to)
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
    async [Symbol.asyncDispose]() {
      listener.close()
      breakConnections()
      await once(listener, 'close')
    },
  }
}
