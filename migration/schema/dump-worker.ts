import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { pgDump } from '@electric-sql/pglite-tools/pg_dump'
import { type DumpWorkerData, type DumpWorkerMessage } from './dump.ts'
import { frontendMessages, startupAnswer } from './wire.ts'

/*
 * The thread that pg_dump (WebAssembly, synchronous) runs in. What its libpq writes goes to the main thread,
 * which owns the connection; this thread sleeps until the whole answer is there.
 */

const { args, parameters, answers, signal } = workerData as DumpWorkerData
const send = (message: DumpWorkerMessage): void => parentPort!.postMessage(message)

let pending = Buffer.alloc(0)
let started = false
let requests = 0

/** Takes what libpq wrote and returns what it may read: nothing until a query is complete. */
function exchange(written: Uint8Array): Uint8Array | undefined {
  const { messages, answered, rest } = frontendMessages(Buffer.concat([pending, written]), started)
  pending = rest
  if (messages.length === 0) return undefined
  if (!started) {
    started = true
    return startupAnswer(parameters)
  }
  if (answered === 0) return undefined
  send({ type: 'request', bytes: messages, answered })
  requests++
  // The wake-up of the answer before may come as late as now: only the count tells.
  for (let count = Atomics.load(signal, 0); count < requests; count = Atomics.load(signal, 0)) {
    Atomics.wait(signal, 0, count)
  }
  return (receiveMessageOnPort(answers) as { message: Uint8Array }).message
}

const connection = {
  // pgDump asks for the search path to put it back afterwards: the connection is ours alone and ends after the dump.
  query: () => Promise.resolve({ rows: [{ search_path: "''" }] }),
  exec: () => Promise.resolve([]),
  execProtocolRawStream(bytes: Uint8Array, options: { onRawData(bytes: Uint8Array): void }) {
    const answer = exchange(bytes)
    if (answer) options.onRawData(answer)
  },
}

/**
 * pgDump removes every line that begins with `\restrict` or `\unrestrict` from its result, those of function
 * bodies too. In this thread, which lives for one dump, it keeps them; split.ts drops the two that are pg_dump's own.
 */
function keepRestrictLines(): void {
  const replace = Reflect.get(String.prototype, 'replace') as (this: string, ...args: unknown[]) => string
  Object.defineProperty(String.prototype, 'replace', {
    value(this: string, ...args: unknown[]): string {
      const [pattern] = args
      if (pattern instanceof RegExp && pattern.source.includes('restrict')) return String(this)
      return replace.apply(this, args)
    },
  })
}

// The name that pg_dump's messages begin with.
process.argv[1] = 'pg_dump'
keepRestrictLines()
try {
  const file = await pgDump({ pg: connection as unknown as Parameters<typeof pgDump>[0]['pg'], args })
  send({ type: 'done', text: await file.text() })
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
}
