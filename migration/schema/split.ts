import { loadModule, parseSync, type Node } from './parser.ts'
import { id } from '../sql.ts'
import { describe, type Description } from './describe.ts'

/** One statement of a dump: what it makes or changes, and its text as pg_dump wrote it. */
export interface SchemaStatement extends Description {
  sql: string
}

/**
 * Cuts a dump of pg_dump into its statements, in their order. PostgreSQL's own parser says where each one ends,
 * so that a function body may hold anything. Left out are psql's meta-commands, and the settings that the
 * session has anyway (see session.ts).
 */
export async function splitDump(text: string): Promise<SchemaStatement[]> {
  await loadModule()
  const statements: SchemaStatement[] = []
  const session: DumpSession = {}
  for (const { sql, header, node } of rawStatements(withoutMetaCommands(text))) {
    if (node !== undefined && followSetting(session, node)) continue
    statements.push({ ...describe(node, header), sql: inSession(session, sql, node) })
  }
  return statements
}

/** pg_dump 18.1 and later begins with `\restrict key` and ends with `\unrestrict key`, for psql. */
function withoutMetaCommands(text: string): string {
  return text.replace(/^((?:--.*\n|\s*\n)*)\\restrict .*\n/, '$1').replace(/\n\\unrestrict \S+\s*$/, '\n')
}

interface RawStatement {
  sql: string
  /** The comment lines in front of the statement. */
  header: string
  /** Undefined when the parser does not know the statement. */
  node: Node | undefined
}

/** pg_dump's comment in front of each object. A body may hold such lines too: they are a guess, the parser decides. */
const ENTRY = '\n--\n-- Name: '
/** Enough for one call to be cheap, little enough for the parser's memory with a dump of any size. */
const CHUNK_LENGTH = 200_000

function* rawStatements(text: string): Generator<RawStatement> {
  const ends = [...entryStarts(text), text.length]
  for (let from = 0, next = 0; from < text.length; from = ends[next - 1]!) {
    let last = ends.findIndex((end, n) => n >= next && end - from > CHUNK_LENGTH)
    if (last === -1) last = ends.length - 1
    const chunk = parseUntil(text, from, ends, last, MAX_LOOK_ALIKES)
    if (chunk) {
      yield* chunk.statements
      next = chunk.next
    } else {
      // Something in it is not known to the grammar (of an old source): entry by entry.
      for (let start = from; next <= last; start = ends[next - 1]!) {
        const entry = parseUntil(text, start, ends, next, Infinity)
        if (entry) yield* entry.statements
        else yield unknownStatement(text.slice(start, ends[next]))
        next = entry?.next ?? next + 1
      }
    }
  }
}

function entryStarts(text: string): number[] {
  const starts: number[] = []
  for (let at = text.indexOf(ENTRY); at !== -1; at = text.indexOf(ENTRY, at + 1)) starts.push(at + 1)
  return starts
}

/** More of them in one body than this are looked for entry by entry. */
const MAX_LOOK_ALIKES = 20

/**
 * Parses up to the end of an entry, or of a later one when that end is in the middle of a body.
 *
 * @returns undefined when it does not parse
 */
function parseUntil(
  text: string,
  from: number,
  ends: number[],
  last: number,
  lookAlikes: number,
): { statements: RawStatement[]; next: number } | undefined {
  for (let n = last; n < ends.length && n <= last + lookAlikes; n++) {
    try {
      return { statements: parse(text.slice(from, ends[n])), next: n + 1 }
    } catch (error) {
      if (!INCOMPLETE.test((error as Error).message)) return undefined
    }
  }
  return undefined
}

/** The server will say what is wrong with it. */
function unknownStatement(text: string): RawStatement {
  const { header, sql } = splitHeader(text)
  return { header, sql: sql.replace(/;$/, ''), node: undefined }
}

/** The parser's words for a text that is cut off. */
const INCOMPLETE = /unterminated|at end of input/

function parse(text: string): RawStatement[] {
  const parsed = parseSync(text)
  // Offsets are bytes of the UTF-8 text.
  const bytes = Buffer.from(text)
  let header = ''
  let end = 0
  return (parsed.stmts ?? []).map(({ stmt, stmt_location: start = 0, stmt_len: length = bytes.length - start }) => {
    const between = bytes.toString('utf8', end, start)
    end = start + length
    const { header: own, sql } = splitHeader(bytes.toString('utf8', start, end))
    // One entry of pg_dump may hold several statements: its comment stands in front of the first.
    if (/^-- Name: /m.test(between + own)) header = between + own
    return { header, sql, node: stmt }
  })
}

/** Divides what stands in front of a statement (blank lines and comment lines) from the statement itself. */
function splitHeader(raw: string): { header: string; sql: string } {
  const header = /^(?:\s+|--.*(?:\n|$))*/.exec(raw)![0]
  return { header, sql: raw.slice(header.length).trimEnd() }
}

/** What the settings in a dump mean for the statements after them. */
interface DumpSession {
  /** Unless it is PostgreSQL's own. */
  accessMethod?: string
  /** SET SESSION AUTHORIZATION: grants that a role other than the owner has given. */
  role?: string
}

/** True when the statement is a setting: those of the preamble are in force in our sessions anyway. */
function followSetting(session: DumpSession, node: Node): boolean {
  if ('SelectStmt' in node) return true // set_config('search_path', '', false)
  if (!('VariableSetStmt' in node)) return false
  const { name, args } = node.VariableSetStmt
  const value = args?.[0] !== undefined && 'A_Const' in args[0] ? args[0].A_Const.sval?.sval : undefined
  if (name === 'default_table_access_method') session.accessMethod = value === 'heap' ? undefined : value
  if (name === 'session_authorization') session.role = value
  return true
}

/** The statement with the settings that it needs, for a simple query inside a transaction. */
function inSession({ accessMethod, role }: DumpSession, sql: string, node: Node | undefined): string {
  // SET SESSION AUTHORIZATION is for superusers; to act as the role it is enough to be its member.
  if (role !== undefined) return `set local role ${id(role)};\n${sql};\nreset role`
  const makesTable = node !== undefined && ('CreateStmt' in node || 'CreateTableAsStmt' in node)
  if (accessMethod !== undefined && makesTable) {
    return `set local default_table_access_method = ${id(accessMethod)};\n${sql};\nset local default_table_access_method = heap`
  }
  return sql
}
