/** Both ends, also when one fails: a query that still runs would meet a connection that is being closed. */
export async function bothSettled<L, R>(left: Promise<L>, right: Promise<R>): Promise<[L, R]> {
  await Promise.allSettled([left, right])
  return [await left, await right]
}
