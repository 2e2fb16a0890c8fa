import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'

/** What a client sends: the text of a query, with its parameters where it has some. */
export interface Statement {
  /** Numbers the connections of a relay. */
  connection: number
  /** The application_name of the session. */
  session: string
  sql: string
  parameters: string[]
}

/**
 * hold: it never reaches the server until it is released; hold answer: the server does it, and the client does not
 * hear of it until then.
 */
export type Verdict = 'pass' | 'hold' | 'hold answer'

/** Stands between a client and a server, reads what the client asks for, and can stop it at any statement. */
export interface StatementRelay extends AsyncDisposable {
  port: number
  /** Lets go what is held, if its connections are still there. */
  release(): void
}

/** Reads the protocol without TLS. https://www.postgresql.org/docs/current/protocol-message-formats.html */
export async function startStatementRelay(
  server: { host: string; port: number },
  judge: (statement: Statement) => Verdict,
): Promise<StatementRelay> {
  const releases = new Set<() => void>()
  const sockets = new Set<Socket>()
  let connections = 0
  const listener = createServer((client) => {
    const upstream = connect({ host: server.host, port: server.port })
    const reader = statementReader(connections++)
    const toServer = gate(upstream)
    const toClient = gate(client)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.setNoDelay(true)
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.on('data', (bytes: Buffer) => {
      for (const { message, statement } of reader(bytes)) {
        const verdict = statement === undefined ? 'pass' : judge(statement)
        if (verdict !== 'pass') {
          const held = verdict === 'hold' ? toServer : toClient
          held.close()
          releases.add(held.open)
        }
        toServer.write(message)
      }
    })
    upstream.on('data', (bytes: Buffer) => toClient.write(bytes))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as AddressInfo).port,
    release() {
      for (const open of releases) open()
      releases.clear()
    },
    async [Symbol.asyncDispose]() {
      listener.close()
      for (const socket of sockets) socket.destroy()
      await once(listener, 'close')
    },
  }
}

/** Passes bytes on, or keeps them for later. */
function gate(to: Socket): { write: (bytes: Buffer) => void; close: () => void; open: () => void } {
  let kept: Buffer[] | undefined
  const send = (bytes: Buffer): void => {
    if (to.writable) to.write(bytes)
  }
  return {
    write: (bytes) => (kept ? void kept.push(bytes) : send(bytes)),
    close: () => {
      kept ??= []
    },
    open: () => {
      for (const bytes of kept ?? []) send(bytes)
      kept = undefined
    },
  }
}

interface Message {
  message: Buffer
  statement?: Statement
}

/** Cuts the bytes of a client into messages. */
function statementReader(connection: number): (bytes: Buffer) => Message[] {
  let rest: Buffer = Buffer.alloc(0)
  let started = false
  let session = ''
  const texts = new Map<string, string>()
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    const messages: Message[] = []
    for (;;) {
      const header = started ? 1 : 0
      if (rest.length < header + 4) return messages
      const length = header + rest.readInt32BE(header)
      if (rest.length < length) return messages
      const message = rest.subarray(0, length)
      rest = rest.subarray(length)
      const body = message.subarray(header + 4)
      if (!started) {
        // The protocol version of a start; requests for TLS and the like have other numbers, and no parameters.
        if (body.readInt32BE(0) === 3 << 16) {
          started = true
          const words = body.subarray(4).toString('utf8').split('\0')
          session = words[words.indexOf('application_name') + 1] ?? ''
        }
        messages.push({ message })
        continue
      }
      const statement = (sql: string, parameters: string[] = []): Message => ({
        message,
        statement: { connection, session, sql, parameters },
      })
      switch (String.fromCharCode(message[0]!)) {
        case 'Q':
          messages.push(statement(body.subarray(0, -1).toString('utf8')))
          break
        case 'P': {
          const [name, sql] = body.toString('utf8').split('\0', 2) as [string, string]
          texts.set(name, sql)
          messages.push({ message })
          break
        }
        case 'B': {
          const { name, parameters } = bindOf(body)
          messages.push(statement(texts.get(name) ?? '', parameters))
          break
        }
        default:
          messages.push({ message })
      }
    }
  }
}

function bindOf(body: Buffer): { name: string; parameters: string[] } {
  const portal = body.indexOf(0)
  const end = body.indexOf(0, portal + 1)
  const name = body.subarray(portal + 1, end).toString('utf8')
  let at = end + 1 + 2 + 2 * body.readInt16BE(end + 1)
  const count = body.readInt16BE(at)
  at += 2
  const parameters: string[] = []
  for (let i = 0; i < count; i++) {
    const length = body.readInt32BE(at)
    at += 4
    parameters.push(length < 0 ? '' : body.subarray(at, at + length).toString('utf8'))
    at += Math.max(length, 0)
  }
  return { name, parameters }
}
