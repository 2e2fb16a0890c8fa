/**
 * Chooses what to read together with what is needed: twice as many each time, so that little is read in vain where few
 * are needed, and many need few round trips.
 */
export function readAhead(most: number): <T>(unread: readonly T[]) => T[] {
  let size = 0
  return (unread) => {
    const chosen = unread.slice(0, size)
    size = Math.min(most, 2 * size + 1)
    return chosen
  }
}
