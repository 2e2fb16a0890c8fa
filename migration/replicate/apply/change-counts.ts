/** Row changes of the source, as its applications made them. */
export interface ChangeCounts {
  inserts: number
  updates: number
  deletes: number
  /** One for each table. */
  truncates: number
  /** Source transactions with at least one of them. */
  transactions: number
}

export function noChanges(): ChangeCounts {
  return { inserts: 0, updates: 0, deletes: 0, truncates: 0, transactions: 0 }
}

export function sum(a: ChangeCounts, b: ChangeCounts): ChangeCounts {
  return {
    inserts: a.inserts + b.inserts,
    updates: a.updates + b.updates,
    deletes: a.deletes + b.deletes,
    truncates: a.truncates + b.truncates,
    transactions: a.transactions + b.transactions,
  }
}

/** Changes of all kinds. */
export function total({ inserts, updates, deletes, truncates }: Omit<ChangeCounts, 'transactions'>): number {
  return inserts + updates + deletes + truncates
}
