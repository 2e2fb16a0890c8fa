import { describe, expect, it } from 'vitest'
import { judgeSuspects, type Suspect } from '../../../migration/verify/suspects.ts'

/** Rounds of one row: its state at the first look, then what the target and the source show in each round. */
function judge(first: string | null, ...rounds: [target: string | null, source: string | null][]): string {
  let suspects: Suspect[] = [{ id: 'r', source: first, strikes: 0 }]
  const look = (state: string | null): Map<string, string> => new Map(state === null ? [] : [['r', state]])
  for (const [target, source] of rounds) {
    const { lasting, open } = judgeSuspects(suspects, { target: look(target), source: look(source) })
    if (lasting.length > 0) return 'lasting'
    if (open.length === 0) return 'lag'
    suspects = open
  }
  return 'open'
}

describe('a row that differed', () => {
  it.each<[string, string | null, [string | null, string | null][], string]>([
    ['was behind', 'a', [['a', 'a']], 'lag'],
    ['was deleted, and the target was behind', null, [[null, null]], 'lag'],
    ['is at a later state, which the source shows too', 'a', [['b', 'b']], 'lag'],
    ['differs once: a value may have come and gone in between', 'a', [['b', 'a']], 'open'],
    [
      'differs at two looks',
      'a',
      [
        ['b', 'a'],
        ['b', 'a'],
      ],
      'lasting',
    ],
    [
      'is missing on the target',
      'a',
      [
        [null, 'a'],
        [null, 'a'],
      ],
      'lasting',
    ],
    [
      'is only on the target',
      null,
      [
        ['x', null],
        ['x', null],
      ],
      'lasting',
    ],
    [
      'is missing on the target, and changed all the time',
      'a',
      [
        [null, 'b'],
        [null, 'c'],
      ],
      'lasting',
    ],
    [
      'changes faster than it is looked at',
      'a',
      [
        ['b', 'c'],
        ['d', 'e'],
        ['f', 'g'],
      ],
      'open',
    ],
    [
      'changes, then rests',
      'a',
      [
        ['b', 'c'],
        ['c', 'c'],
      ],
      'lag',
    ],
  ])('%s', (_, first, rounds, outcome) => {
    expect(judge(first, ...rounds)).toBe(outcome)
  })
})
