import pg from 'pg'

/** Quotes an identifier for SQL; several parts are joined by dots (`"schema"."table"`). */
export function id(...parts: string[]): string {
  return parts.map((part) => pg.escapeIdentifier(part)).join('.')
}

/** Quotes a text literal, for the few commands that take no parameters (utility statements, replication commands). */
export function literal(text: string): string {
  return pg.escapeLiteral(text)
}
