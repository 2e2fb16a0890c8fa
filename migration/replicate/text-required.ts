import { MigrationError } from '../errors.ts'

/**
 * Values can't be had in their binary form: the changes have to be read again, as text. Where nobody does that, it is
 * a stream that is not understood.
 */
export class TextRequired extends MigrationError {
  constructor(what: string) {
    super('ProtocolViolation', `Values were asked for in their binary form, and ${what}.`, {
      hint: 'Nothing of it was applied. It is read again as text by itself.',
      target: 'source',
    })
    this.name = 'TextRequired'
  }
}
