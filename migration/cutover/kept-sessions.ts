import { SESSION_START, type Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { endSession } from '../replicate/apply/apply-session.ts'
import type { Side } from '../store/secrets.ts'

/** Sessions of each side that are opened beforehand and kept: a comparison takes two pairs. */
const KEPT = 2

/**
 * What DISCARD ALL does, which cannot be in one query with anything else; but a role that ALTER ROLE … SET gives the
 * session stays. https://www.postgresql.org/docs/current/sql-discard.html
 */
const AS_NEW = `
  close all;
  reset role;
  reset all;
  deallocate all;
  unlisten *;
  select pg_catalog.pg_advisory_unlock_all();
  discard plans;
  discard temp;
  discard sequences;
  ${SESSION_START}`

/** The context of a database whose sessions are used again and again. */
export interface KeptSessions extends AsyncDisposable {
  context: DatabaseContext
  /** Opens them before they are needed. */
  open(): Promise<void>
  /** Ends something else together with them: not before a cutover that has failed is called off. */
  use<T extends AsyncDisposable>(resource: T): T
}

/** One that nobody has, once it is as new. */
interface Idle {
  session: Connection
  ready: Promise<unknown>
}

/**
 * Keeps sessions open while applications wait. A new one costs some eight round trips (TCP, TLS, authentication,
 * settings) and a process on the server, and a cutover takes some twenty. One that is given back is set back as the
 * server's own DISCARD does it; one that is not idle by then, or was cut off, is ended as ever.
 */
export function keepSessions(context: DatabaseContext): KeptSessions {
  const idle: Record<Side, Idle[]> = { source: [], target: [] }
  let ended = false
  const others = new AsyncDisposableStack()

  const connect = (side: Side, purpose: string): Promise<Connection> =>
    side === 'source' ? context.source(purpose) : context.target(purpose)

  async function lend(side: Side, purpose: string): Promise<Connection> {
    for (let one = idle[side].shift(); one; one = idle[side].shift()) {
      const { session, ready } = one
      try {
        await ready
        // By its name a session is found by whoever has to end it.
        await session.query(`select set_config('application_name', $1, false)`, [`pgflex ${purpose}`.slice(0, 63)])
        return lent(session, () => giveBack(side, session))
      } catch {
        // It was cut off while it was idle: the next one, or a new one, will tell why.
        await session.end().catch(() => {})
      }
    }
    const session = await connect(side, purpose)
    return lent(session, () => giveBack(side, session))
  }

  async function giveBack(side: Side, session: Connection): Promise<void> {
    if (ended || !isAtRest(session) || idle[side].length >= KEPT) return endSession(session)
    const ready = session.query(AS_NEW)
    // Nobody waits for it but whoever takes the session next.
    ready.catch(() => {})
    idle[side].push({ session, ready })
  }

  return {
    context: {
      ...context,
      source: (purpose) => lend('source', purpose),
      target: (purpose) => lend('target', purpose),
    },
    async open() {
      const missing = (['source', 'target'] as const).flatMap((side) =>
        Array<Side>(Math.max(0, KEPT - idle[side].length)).fill(side),
      )
      await Promise.all(
        missing.map(async (side) => {
          // One that cannot be opened now is opened when it is needed, and its failure told by then.
          const session = await connect(side, 'kept for the cutover').catch(() => undefined)
          if (session) idle[side].push({ session, ready: Promise.resolve() })
        }),
      )
    },
    use: (resource) => others.use(resource),
    async [Symbol.asyncDispose]() {
      ended = true
      await others.disposeAsync()
      const rest = [...idle.source.splice(0), ...idle.target.splice(0)]
      await Promise.all(rest.map(({ session }) => endSession(session)))
    },
  }
}

/** A session as one borrower sees it: whatever it does with it after giving it back reaches nobody. */
function lent(session: Connection, giveBack: () => Promise<void>): Connection {
  let over: Promise<void> | undefined
  const end = (): Promise<void> => (over ??= giveBack())
  const own = new Map<PropertyKey, unknown>([
    ['end', end],
    [Symbol.asyncDispose, () => end().catch(() => {})],
  ])
  return new Proxy(session, {
    get(target, key) {
      if (own.has(key)) return own.get(key)
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
    set(target, key, value) {
      if (own.has(key)) own.set(key, value)
      else Reflect.set(target, key, value, target)
      return true
    },
  })
}

/** Nothing is under way in it, no transaction is open, and nothing is prepared that the client would count on. */
function isAtRest(session: Connection): boolean {
  const { readyForQuery, pipeline, connection } = session as unknown as {
    readyForQuery: boolean
    pipeline: boolean
    connection: { stream: { destroyed: boolean }; parsedStatements: object }
  }
  return (
    readyForQuery &&
    !pipeline &&
    !connection.stream.destroyed &&
    Object.keys(connection.parsedStatements).length === 0 &&
    session.getTransactionStatus() === 'I'
  )
}
