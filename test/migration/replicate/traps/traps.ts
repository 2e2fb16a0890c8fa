/** Traps of replication that tests outside of this folder hold: the files, and titles in them, from `test/migration/`. */
export const ELSEWHERE: Record<number, { file: string; titles: string[] }[]> = {
  // Acknowledging `end + 1` skips a commit that stands right behind.
  1: [
    {
      file: 'replicate/replication-stream.pg.test.ts',
      titles: [
        'after the acknowledgement of a commit, one that stands right behind it still arrives',
        'given the end of a commit, the library itself would skip the next one: it sends the LSN after',
      ],
    },
  ],
  // A slow apply lets wal_sender_timeout pass.
  8: [
    {
      file: 'replicate/slice-lifetime.pg.test.ts',
      titles: [
        'while the target is held up, latency grows, nothing is acknowledged, and the source keeps the connection',
      ],
    },
    {
      file: 'replicate/replication-stream.pg.test.ts',
      titles: [
        'a paused socket holds back the source without losing the connection, and everything arrives in the end',
      ],
    },
  ],
  // The slot is still active after a crash.
  12: [
    {
      file: 'replicate/replication-stream.pg.test.ts',
      titles: ['a walsender of ours that still has the slot is ended'],
    },
  ],
  // Values that go through the types of JavaScript.
  28: [
    {
      file: 'replicate/values.pg.test.ts',
      titles: ['values of every type are carried exactly, whatever the settings of both databases'],
    },
  ],
  // Binary values between majors and extension types: only text is asked for.
  32: [
    {
      file: 'replicate/recorded-streams.pg.test.ts',
      titles: ['values in binary format are read when they are asked for, and refused when not'],
    },
  ],
  // Triggers and rules that fire in every role: they come at cutover.
  38: [
    {
      file: 'schema/schema.pg.test.ts',
      titles: ['nothing that fires or checks is on the target before the cutover'],
    },
  ],
  // Errors in a pipeline that nobody reads.
  45: [
    {
      file: 'replicate/slice-lifetime.pg.test.ts',
      titles: [
        'a refused change names table, key, SQLSTATE and commit, leaves nothing behind, and goes on once it is put right',
      ],
    },
  ],
  // An UPDATE or DELETE that finds no row.
  46: [
    {
      file: 'replicate/slice-lifetime.pg.test.ts',
      titles: ['an update or delete that touches no row is counted and told once'],
    },
  ],
  // Huge transactions and huge rows.
  47: [
    {
      file: 'replicate/slice-lifetime.pg.test.ts',
      titles: ['a transaction of 200,000 rows and 150 MB, with rows of 20 MB, takes bounded memory'],
    },
  ],
  // A long transaction delays the slot.
  48: [
    {
      file: 'load/snapshots.pg.test.ts',
      titles: ['a slot that waits for a long transaction is explained in the status'],
    },
  ],
  // The exported snapshot dies with its session.
  49: [
    {
      file: 'load/snapshots.pg.test.ts',
      titles: [
        'a snapshot outlives the timeouts that the source sets for its sessions',
        'an Offline load whose snapshot is lost under way begins anew by itself',
      ],
    },
  ],
  // Sequences, unlogged tables and materialized views are not in the stream. Large objects are told by validation.
  54: [
    {
      file: 'cutover/cutover-database.pg.test.ts',
      titles: ['after a cutover the source is read-only, and the target has sequences and identity as the source'],
    },
    {
      file: 'load/copy-unfollowed-tables.pg.test.ts',
      titles: [
        'unlogged tables are copied again, with keys among them and triggers that stay as they were',
        'tables without identity are copied again, whatever was followed of them',
      ],
    },
  ],
  // Rows that were copied already come again in the stream.
  58: [
    { file: 'replicate/slice-lifetime.pg.test.ts', titles: ['each table begins at its own point'] },
    { file: 'load/snapshots.pg.test.ts', titles: ['a table holds exactly what was committed before its P'] },
  ],
  // The clocks of the two sides differ: all times are those of the source.
  59: [
    {
      file: 'replicate/latency.test.ts',
      titles: ['the oldest commit that has arrived and is not applied tells exactly'],
    },
  ],
  // Writes after the place that cutover waits for.
  61: [
    {
      file: 'cutover/freeze-writes.pg.test.ts',
      titles: [
        'the end LSN is at or after a commit that has not been flushed, also in a frozen database',
        'what would still let writes in is named: prepared transactions and settings of roles',
      ],
    },
    {
      file: 'cutover/cutover-database.pg.test.ts',
      titles: ['writes that go on after they were meant to have stopped call the cutover off'],
    },
  ],
}

/** Traps that cannot arise here, and why. */
export const NOT_HERE: Record<number, string> = {
  55: 'An UPDATE that crosses a row filter becomes an INSERT or DELETE: our publications have neither row filters nor column lists (createPublications), a table is followed whole or not at all.',
}
