import { UNCHANGED, type Value } from '../tuple.ts'

/** Characters of a value in an error message. */
const SHOWN = 100

/** A value for the reader of an error message. @param type in whose binary form it is; `text` for any type's text */
export function showValue(value: Value, type: string): string {
  if (value === null) return 'null'
  if (value === UNCHANGED) return '…'
  switch (type) {
    case 'smallint':
      return String(value.readInt16BE())
    case 'integer':
      return String(value.readInt32BE())
    case 'bigint':
      return String(value.readBigInt64BE())
    case 'uuid':
      return value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
    case 'text':
    case 'character varying':
    case 'bpchar':
    case 'name':
      // At most four bytes a character.
      return value
        .subarray(0, 4 * SHOWN)
        .toString('utf8')
        .slice(0, SHOWN)
    default:
      return `${type} \\x${value.subarray(0, SHOWN / 2).toString('hex')}`
  }
}
