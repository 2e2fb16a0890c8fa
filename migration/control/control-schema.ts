import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'

/** The schema of pgflex in each target database; it goes when the migration of that database ends. */
export const CONTROL_SCHEMA = 'pgflex'

/**
 * Makes the control schema, or finds that of this migration.
 *
 * @throws {MigrationError} ControlSchemaTaken when the database holds that of another migration
 */
export async function createControlSchema(target: Connection, migrationKey: string): Promise<void> {
  await target.query('begin')
  try {
    // Two copies of an activity may come here at once: "if not exists" alone can still fail on the catalog's unique index.
    await target.query(`select pg_advisory_xact_lock(hashtext('pgflex control schema'))`)
    await target.query(DEFINITION)
    await target.query(`insert into pgflex.migration (key) select $1 where not exists (select from pgflex.migration)`, [
      migrationKey,
    ])
    const { rows } = await target.query<{ key: string }>('select key from pgflex.migration')
    if (rows[0]?.key !== migrationKey) {
      throw new MigrationError(
        'ControlSchemaTaken',
        `The target database belongs to another migration (${rows[0]?.key}).`,
        {
          hint: 'Let that migration end or cancel it; if it is gone for good, drop its schema: drop schema pgflex cascade.',
        },
      )
    }
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}

export async function dropControlSchema(target: Connection): Promise<void> {
  await target.query('drop schema if exists pgflex cascade')
}

/** The key of the migration that the database's control schema belongs to, or undefined when there is none. */
export async function controlSchemaOwner(target: Connection): Promise<string | undefined> {
  const { rows } = await target.query(`select from pg_class where oid = to_regclass('pgflex.migration')`)
  if (rows.length === 0) return undefined
  const owner = await target.query<{ key: string }>('select key from pgflex.migration')
  return owner.rows[0]?.key
}

const DEFINITION = `
  create schema if not exists pgflex;

  -- Whose control schema this is: exactly one row.
  create table if not exists pgflex.migration (
    key        text        primary key,
    created_at timestamptz not null default now()
  );

  -- Who may write; see lease.ts.
  create table if not exists pgflex.lease (
    name       text        primary key,
    fence      bigint      not null,
    pids       int[]       not null default '{}',
    expires_at timestamptz not null
  );

  -- Steps that are done once: their name and what came of them.
  create table if not exists pgflex.step (
    name        text        primary key,
    detail      jsonb       not null default '{}',
    finished_at timestamptz not null default now()
  );

  -- Large objects by ranges of their oids, and which of them are as on the source; see load/large-objects.ts.
  create table if not exists pgflex.large_object_range (
    pass            text    not null,  -- the load, or an attempt to cut over: each looks at all of them
    lower           bigint  not null,  -- exclusive
    upper           bigint  not null,  -- inclusive
    done            boolean not null default false,
    objects_written bigint  not null default 0,  -- made, changed or dropped
    bytes_written   bigint  not null default 0,
    primary key (pass, lower)
  );

  -- The statements of the schema, in the order of pg_dump; see schema/.
  create table if not exists pgflex.statement (
    section  text   not null,  -- pre-data, post-data
    position int    not null,
    kind     text   not null,  -- TABLE, INDEX, FK CONSTRAINT, TRIGGER ...
    schema_name text,
    object_name text,          -- what the statement makes or changes
    table_name  text,          -- the table that an index, constraint or trigger belongs to
    sql      text   not null,
    state    text   not null default 'pending' check (state in ('pending', 'done', 'failed', 'skipped')),
    message  text,
    primary key (section, position)
  );

  -- The tables to copy, and the filter point of each; see load/.
  create table if not exists pgflex.table_copy (
    schema_name  text    not null,
    table_name   text    not null,
    batch        int     not null,
    ranges       int     not null default 1,   -- in how many it is copied at most
    state        text    not null default 'queued' check (state in ('queued', 'loading', 'completed', 'errored')),
    snapshot_lsn pg_lsn,           -- P(t): changes that commit at or after it are applied
    rows_total   bigint  not null default 0,   -- estimate of the source's catalog
    bytes_total  bigint  not null default 0,   -- heap and TOAST on the source
    rows_done    bigint  not null default 0,
    bytes_done   bigint  not null default 0,   -- of the COPY stream
    started_at   timestamptz,
    ended_at     timestamptz,
    message      text,
    primary key (schema_name, table_name)
  );

  -- Which columns of the source the columns of each table are; see replicate/schema-change/. It changes in the
  -- transaction that brings a change of the definition.
  create table if not exists pgflex.table_shape (
    schema_name text  not null,
    table_name  text  not null,
    shape       json  not null, -- its text is compared
    primary key (schema_name, table_name)
  );

  -- The ranges of large tables that are being copied: one that is done is in the table. They go, and the rows with them,
  -- when the copy of the table begins anew; see load/table-range-copy.ts.
  create table if not exists pgflex.table_range (
    id           bigint  generated always as identity primary key,
    schema_name  text    not null,
    table_name   text    not null,
    method       text    not null check (method in ('pages', 'key')),
    lower        bigint,           -- inclusive
    upper        bigint,           -- exclusive
    snapshot     text    not null, -- on the source
    snapshot_lsn pg_lsn,
    lease        text    not null, -- of whoever has begun the copy, and keeps its snapshot open
    fence        bigint  not null,
    done         boolean not null default false,
    done_by      text,             -- application_name of the session that has copied it
    rows_done    bigint  not null default 0,
    bytes_done   bigint  not null default 0
  );
  create index if not exists table_range_table on pgflex.table_range (schema_name, table_name);

  -- How far the target is: one row for the slot of this database. It moves in the transaction that applies.
  create table if not exists pgflex.progress (
    slot         text    primary key,
    start_lsn    pg_lsn  not null,  -- P0, the slot's consistent point
    applied_lsn  pg_lsn  not null,  -- end of the last applied commit
    inserts      bigint  not null default 0,
    updates      bigint  not null default 0,
    deletes      bigint  not null default 0,
    truncates    bigint  not null default 0,
    transactions bigint  not null default 0,
    missed       bigint  not null default 0
  );

  -- The source that is followed; see replicate/followed-source.ts.
  create table if not exists pgflex.source (
    slot              text        primary key,
    system_identifier text        not null,
    timelines         jsonb       not null,
    acknowledged_lsn  pg_lsn      not null,  -- nothing after it has been acknowledged to the slot
    caught_up_at      timestamptz not null   -- by the source's clock: the target had everything of that time
  );

  -- Where a comparison while following is: at most one row; see verify/verification-state.ts.
  create table if not exists pgflex.verification (
    requested_at text primary key,
    state        jsonb not null
  );

  -- Tables that are compared in the background while they are followed. What came of it holds, but for the rows that
  -- are marked since; see verify/background-comparison.ts.
  create table if not exists pgflex.compared_table (
    id          int    generated always as identity primary key, -- another one for each comparison of a table
    schema_name text   not null,
    table_name  text   not null,
    bytes       bigint not null default 0,
    marked_from pg_lsn,            -- all changes of transactions that commit at or after it are marked
    definition  text,              -- of both sides, after that and before the first range
    state       text   not null default 'running' check (state in ('running', 'equal', 'unequal')),
    ended_at    timestamptz,
    unique (schema_name, table_name)
  );

  -- What the marks of these tables are; only the transactions that apply change it. See replicate/apply/change-marks.ts.
  create table if not exists pgflex.marked_table (
    id          int     primary key, -- of compared_table
    key_columns text[],              -- what the keys of its marks are the values of
    whole       boolean not null default false -- more has changed than is marked by rows
  );

  -- Rows that were changed. Not one for each row, which would cost as much as the change, but for each group.
  create table if not exists pgflex.change_mark (
    table_id int    not null,
    marks    int    not null,
    keys     text[],               -- for each column of the key, the text of an array of its values
    blocks   bigint[]              -- of an integer key: blocks of neighbouring keys, by number
  );
  create index if not exists change_mark_table on pgflex.change_mark (table_id);

  -- Points of the plots.
  create table if not exists pgflex.sample (
    at              timestamptz not null default now(),
    latency_seconds float8 not null,
    lag_bytes       bigint not null,
    rows_copied     bigint not null,
    bytes_copied    bigint not null,
    changes_applied bigint not null
  );
  create index if not exists sample_at on pgflex.sample (at);
`

/** True when a step has been recorded as done. */
export async function isStepDone(target: Connection, name: string): Promise<boolean> {
  const { rows } = await target.query('select from pgflex.step where name = $1', [name])
  return rows.length > 0
}

/** Records a step as done; call it in the transaction that does the step, where there is one. */
export async function markStepDone(target: Connection, name: string, detail: unknown = {}): Promise<void> {
  await target.query('insert into pgflex.step (name, detail) values ($1, $2) on conflict (name) do nothing', [
    name,
    JSON.stringify(detail),
  ])
}
