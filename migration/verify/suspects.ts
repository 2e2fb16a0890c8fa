/** A row that differed when it was looked at. */
export interface Suspect {
  id: string
  /** Its digest on the source at the last look there; null where it was missing. */
  source: string | null
  /** How often it was found to differ although the target had everything of the last look at the source. */
  strikes: number
}

/** What the target showed once it had come to the last look at the source, and the source after that. */
export interface Looks {
  target: ReadonlyMap<string, string>
  source: ReadonlyMap<string, string>
}

export interface Judgement {
  lasting: Suspect[]
  /** To be looked at again. */
  open: Suspect[]
}

/** A value that came and went between two looks could look like a difference once, not twice. */
const STRIKES = 2

/**
 * Judges rows that differ. The target has what the source had at the first of three looks, and maybe later changes:
 * the source, then, when the target had come to that place, the target, then the source again.
 *
 * - the target shows what one of the looks at the source did: it was only behind
 * - the source showed the same both times, and the target something else: a difference
 * - the source had the row both times, in whatever state, and the target never, or the other way round: a difference
 * - else the row is being changed: it is looked at again
 */
export function judgeSuspects(suspects: Suspect[], { source, target }: Looks): Judgement {
  const judgement: Judgement = { lasting: [], open: [] }
  for (const { id, source: before, strikes } of suspects) {
    const [shown, after] = [target.get(id) ?? null, source.get(id) ?? null]
    if (shown === before || shown === after) continue
    const still = before === after
    const presence = (before === null) === (after === null) && (shown === null) !== (before === null)
    const judged = { id, source: after, strikes: strikes + (still || presence ? 1 : 0) }
    judgement[judged.strikes >= STRIKES ? 'lasting' : 'open'].push(judged)
  }
  return judgement
}
