import type { QueryResult } from 'pg'
import type { Connection } from '../../connect.ts'

/**
 * Statements that are kept. Each costs the backend some 20 kB (its plan among it), so that it is 40 MB at most; a
 * thousand tables that are written at the same time have room.
 */
const KEPT = 2_000

/** What the types of `pg` leave out of its connection. */
interface PreparingConnection {
  parsedStatements: Record<string, string>
  /** On their way to the server. */
  submittedNamedStatements: Record<string, string>
}

const sessions = new WeakMap<Connection, PreparedStatements>()

/**
 * The statements of a session, prepared when they are used first: for a few rows, parsing and planning takes several
 * times as long as the work. Which ones have not been used for longest is forgotten.
 */
export class PreparedStatements {
  readonly #session: Connection
  /** Name by SQL, the least recently used first. */
  readonly #names = new Map<string, string>()
  readonly #kept: number
  #made = 0

  constructor(session: Connection, kept = KEPT) {
    this.#session = session
    this.#kept = kept
  }

  /** Those of a session, of which a name may stand for one statement only. */
  static of(session: Connection): PreparedStatements {
    let prepared = sessions.get(session)
    if (!prepared) sessions.set(session, (prepared = new PreparedStatements(session)))
    return prepared
  }

  query(sql: string, params: readonly unknown[]): Promise<QueryResult> {
    let name = this.#names.get(sql)
    if (name === undefined) {
      name = `pgflex_${++this.#made}`
      if (this.#names.size >= this.#kept) this.#forget()
    } else this.#names.delete(sql)
    this.#names.set(sql, name)
    return this.#session.query({ name, text: sql, values: [...params] })
  }

  #forget(): void {
    const [sql, name] = this.#names.entries().next().value!
    this.#names.delete(sql)
    const { parsedStatements, submittedNamedStatements } = this.#session.connection as unknown as PreparingConnection
    // A statement that the server refused is not there, and to take it away would fail the transaction that is open.
    if (!(name in parsedStatements) && !(name in submittedNamedStatements)) return
    delete parsedStatements[name]
    // In a failed transaction it is refused like everything else; the statement is then only not used again.
    this.#session.query(`deallocate ${name}`).catch(() => {})
  }
}
