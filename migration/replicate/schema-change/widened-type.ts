/** A change of type after which PostgreSQL's text of every value is the same as before. */
export interface Widening {
  /** The rows are written anew: an expression of the source (USING) leaves no other trace than a plain widening. */
  rewrites: boolean
}

const INTEGERS = ['smallint', 'integer', 'bigint']
/** Types whose modifier is a limit: of characters, bits, fractional digits of a second. */
const LIMITED = [
  /^(character varying)(?:\((\d+)\))?()$/,
  /^(bit varying)(?:\((\d+)\))?()$/,
  /^(timestamp)(?:\((\d+)\))?( without time zone| with time zone)$/,
  /^(time)(?:\((\d+)\))?( without time zone)$/,
]

/**
 * Whether a type holds every value of another one with the same text, and orders them alike. Not float4 to float8
 * (0.1 becomes 0.10000000149011612), not char to text (the padding goes), nothing that PostgreSQL converts.
 *
 * @param before, after as format_type gives them
 */
export function widening(before: string, after: string): Widening | undefined {
  const [from, to] = [INTEGERS.indexOf(before), INTEGERS.indexOf(after)]
  if (from !== -1) {
    if (to > from || after === 'numeric') return { rewrites: true }
    return undefined
  }
  const numeric = /^numeric\((\d+),(\d+)\)$/.exec(before)
  if (numeric) {
    const wider = /^numeric\((\d+),(\d+)\)$/.exec(after)
    const holds = after === 'numeric' || (wider && wider[2] === numeric[2] && Number(wider[1]) >= Number(numeric[1]))
    return holds ? { rewrites: false } : undefined
  }
  if (before === 'text') return after === 'character varying' ? { rewrites: false } : undefined
  for (const pattern of LIMITED) {
    const [old, new_] = [pattern.exec(before), pattern.exec(after)]
    if (!old) continue
    if (after === 'text') return old[1] === 'character varying' ? { rewrites: false } : undefined
    if (!new_ || old[3] !== new_[3]) return undefined
    const holds = new_[2] === undefined || (old[2] !== undefined && Number(new_[2]) >= Number(old[2]))
    return holds ? { rewrites: false } : undefined
  }
  return undefined
}
