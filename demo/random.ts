/** Numbers that look random and are the same for the same seed. */
export interface Random {
  /** From 0 to below 1. */
  next(): number
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number
  pick<T>(items: readonly T[]): T
  /** Picks an item as often as its weight says. */
  weighted<T extends { weight: number }>(items: readonly T[]): T
  /** True once in `n` calls. */
  oneIn(n: number): boolean
  uuid(): string
}

/** mulberry32: 32 bits of state, plenty for a workload. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    between,
    pick: (items) => items[between(0, items.length - 1)]!,
    weighted(items) {
      let rest = next() * items.reduce((sum, { weight }) => sum + weight, 0)
      return items.find(({ weight }) => (rest -= weight) < 0) ?? items[0]!
    },
    oneIn: (n) => next() * n < 1,
    uuid() {
      const hex = Array.from({ length: 4 }, () => between(0, 0xffff_ffff).toString(16).padStart(8, '0')).join('')
      return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
    },
  }
}
