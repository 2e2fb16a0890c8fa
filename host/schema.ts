import { DatabaseSync } from 'node:sqlite'

/** Grows by one when the tables change; an older file is then refused rather than misread. */
const schemaVersion = 1

/**
 * An instance's messages wait in `inbox`, ordered by (late, seq): what a new generation starts with comes before
 * messages that arrived meanwhile. `execution_id` names the generation that a message or task belongs to; one for a
 * past generation is dropped.
 *
 * An activity's lease is its `owner` (the run of the host that executes it) and `attempt`. A completion counts only
 * for the current lease.
 */
const tables = /*sql*/ `
  create table instances (
    id            text primary key,
    execution_id  text not null,
    name          text not null,
    version       text,
    status        text not null,
    input         text,
    output        text,
    custom_status text,
    created_at    text not null,
    updated_at    text not null,
    parent_id           text,
    parent_execution_id text,
    parent_task_id      integer
  ) strict;
  create index instances_by_time on instances (created_at, id);

  create table history (
    instance_id text    not null,
    seq         integer not null,
    event       text    not null,
    primary key (instance_id, seq)
  ) strict, without rowid;

  create table inbox (
    seq          integer primary key autoincrement,
    instance_id  text    not null,
    execution_id text,
    late         integer not null default 1,
    event        text    not null
  ) strict;
  create index inbox_by_instance on inbox (instance_id, late, seq);

  create table activities (
    id           integer primary key autoincrement,
    instance_id  text    not null,
    execution_id text    not null,
    task_id      integer not null,
    name         text    not null,
    input        text,
    owner        text,
    attempt      integer not null default 0
  ) strict;
  create index activities_by_instance on activities (instance_id);
  create index activities_waiting on activities (id) where owner is null;

  create table timers (
    instance_id  text    not null,
    execution_id text    not null,
    task_id      integer not null,
    fire_at      text    not null,
    primary key (instance_id, execution_id, task_id)
  ) strict, without rowid;
  create index timers_by_time on timers (fire_at);
`

/** Opens the host's database, with its tables in place. Every commit is on the disk before it is answered. */
export function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path)
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000')
  const found = (db.prepare('pragma user_version').get() as { user_version: number }).user_version
  if (found === 0) db.exec(`begin; ${tables} pragma user_version = ${schemaVersion}; commit`)
  else if (found !== schemaVersion)
    throw new Error(
      `${path} has version ${found} of the tables, this pgflex knows version ${schemaVersion}. ` +
        'Use the pgflex that made it, or choose another PGFLEX_HOME.',
    )
  return db
}
