import { expect, test } from 'vitest'
import { limitText, medianBusy } from '../../bench/limit.ts'

test('the process that is at work nearly all the time is the limit', () => {
  const busy = [
    { process: 'source decoding', share: 0.92 },
    { process: 'pgflex', share: 0.4 },
  ]
  expect(limitText(busy, 0.8)).toMatch(/^limited by: source decoding 92 % busy \(pgflex 40 %, all \d+ processors/)
})

test('where no process is at work all the time, it is the machine or waiting', () => {
  const busy = [{ process: 'target session', share: 0.5 }]
  expect(limitText(busy, 0.97)).toMatch(/^limited by: the processors of this machine \(target session 50 %, /)
  expect(limitText(busy, 0.6)).toMatch(/^limited by: waiting, .* \(target session 50 %, /)
  expect(limitText([], 0.6)).toMatch(/^limited by: waiting, .* \(no process was busy/)
  expect(limitText(busy, null)).toBe('limited by something that this system does not tell')
})

test('a process that was not seen in a round was idle in it', () => {
  const rounds = [
    [{ process: 'a', share: 0.9 }],
    [
      { process: 'b', share: 0.6 },
      { process: 'a', share: 0.3 },
    ],
    [{ process: 'b', share: 0.5 }],
  ]
  expect(medianBusy(rounds)).toEqual([
    { process: 'b', share: 0.5 },
    { process: 'a', share: 0.3 },
  ])
})
