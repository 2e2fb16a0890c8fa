import { expect, it } from 'vitest'
import { afterCutoverText } from '../../cli/after-cutover.ts'
import { afterCutover } from '../../migration/model/after-cutover.ts'
import { record, SECRETS } from '../migration/model/example.ts'

it('says what to change for each database, and what to switch on once; no password', () => {
  const text = afterCutoverText(['a', 'b'].map((database) => afterCutover(record(), database)))
  expect(text.match(/high availability/g)).toHaveLength(1)
  expect(text.match(/sslmode=verify-full sslrootcert=system/g)).toHaveLength(2)
  expect(text).toContain('source stays read-only')
  for (const secret of SECRETS) expect(text).not.toContain(secret)
})

it('does not say that the source is read-only where nobody has made it so', () => {
  const manual = afterCutover(record({ pgflex: { writeFreeze: 'Manual' } }), 'a')
  expect(manual.steps.join(' ')).not.toContain('stays read-only')
  expect(manual.steps.join(' ')).toContain('Keep the writers of the source stopped')
})
