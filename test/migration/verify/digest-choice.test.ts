import { expect, test } from 'vitest'
import { commonDigest } from '../../../migration/verify/compare-checksums.ts'

test('both sides use the digest that the older one has', () => {
  expect(commonDigest([110_000, 180_004])).toBe('sha256')
  expect(commonDigest([100_023, 180_004])).toBe('md5')
})
