/** Neighbouring integers that are marked together. Divides the bounds of the integer types, so that no block is cut. */
export const BLOCK = 64
/** Keys of a block after which the block is marked: rows that follow each other cost at most a quarter of a mark each. */
export const DENSE = 16

/** What has become of a key that was added. */
export type Added = 'known' | 'key' | 'block'

/** A set of integers that knows in which blocks many of them are. A change asks it once: it is made to be fast. */
export class IntegerBlocks {
  /** Block by its number: where its bits and its count stand. */
  #slots = new Map<number, number>()
  /** Two words for each block. */
  #bits = new Int32Array(2 * 1024)
  #counts = new Uint8Array(1024)
  #lastDense = NaN

  get blocks(): number {
    return this.#slots.size
  }

  /** @returns key: it is new; block: it makes its block dense; known: it was there, or its block is dense */
  add(key: number): Added {
    const block = Math.floor(key / BLOCK)
    // Rows that follow each other.
    if (block === this.#lastDense) return 'known'
    let slot = this.#slots.get(block)
    if (slot === undefined) slot = this.#open(block)
    if (this.#counts[slot]! >= DENSE) {
      this.#lastDense = block
      return 'known'
    }
    const offset = key - block * BLOCK
    const word = 2 * slot + (offset >> 5)
    const bit = 1 << (offset & 31)
    if ((this.#bits[word]! & bit) !== 0) return 'known'
    this.#bits[word]! |= bit
    this.#counts[slot]!++
    return this.#counts[slot]! < DENSE ? 'key' : 'block'
  }

  isDense(key: number): boolean {
    const slot = this.#slots.get(Math.floor(key / BLOCK))
    return slot !== undefined && this.#counts[slot]! >= DENSE
  }

  clear(): void {
    this.#slots.clear()
    this.#bits.fill(0)
    this.#counts.fill(0)
    this.#lastDense = NaN
  }

  #open(block: number): number {
    const slot = this.#slots.size
    if (slot === this.#counts.length) {
      const [bits, counts] = [this.#bits, this.#counts]
      this.#bits = new Int32Array(2 * bits.length)
      this.#bits.set(bits)
      this.#counts = new Uint8Array(2 * counts.length)
      this.#counts.set(counts)
    }
    this.#slots.set(block, slot)
    return slot
  }
}
