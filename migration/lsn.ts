/**
 * Log sequence numbers: bigint inside, PostgreSQL's text form (`16/B374D848`) at the edges. JSON knows no
 * bigint, so orchestration payloads and documents carry the text.
 * https://www.postgresql.org/docs/current/datatype-pg-lsn.html
 */
export type Lsn = bigint

/** @throws {SyntaxError} when the text is no LSN */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (!match) throw new SyntaxError(`"${text}" is not an LSN`)
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}
