import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import type { HistoryEvent, Message } from './history.ts'

export const runtimeStatuses = ['Pending', 'Running', 'Suspended', 'Completed', 'Failed', 'Terminated'] as const
export type RuntimeStatus = (typeof runtimeStatuses)[number]

export const isTerminal = (status: RuntimeStatus): boolean =>
  status === 'Completed' || status === 'Failed' || status === 'Terminated'

/** `input`, `output` and `customStatus` are JSON text. */
export interface Instance {
  id: string
  executionId: string
  name: string
  version: string | null
  status: RuntimeStatus
  input: string | null
  output: string | null
  customStatus: string | null
  createdAt: string
  updatedAt: string
  parentId: string | null
  parentExecutionId: string | null
  parentTaskId: number | null
}

export interface QueuedActivity {
  id: number
  instanceId: string
  executionId: string
  taskId: number
  name: string
  input: string | null
  attempt: number
}

export interface Timer {
  instanceId: string
  executionId: string
  taskId: number
  fireAt: string
}

export interface InboxEntry {
  seq: number
  executionId: string | null
  message: Message
}

const instanceColumns = /*sql*/ `
  id, execution_id as executionId, name, version, status, input, output, custom_status as customStatus,
  created_at as createdAt, updated_at as updatedAt,
  parent_id as parentId, parent_execution_id as parentExecutionId, parent_task_id as parentTaskId`

const activityColumns = /*sql*/ `
  id, instance_id as instanceId, execution_id as executionId, task_id as taskId, name, input, attempt`

const timerColumns = /*sql*/ `instance_id as instanceId, execution_id as executionId, task_id as taskId, fire_at as fireAt`

export type Store = ReturnType<typeof createStore>

/** The statements of the engine. Each is one statement; `transaction` makes several into one unit. */
export function createStore(db: DatabaseSync) {
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>()
  const prepare = (sql: string) => {
    const statement = statements.get(sql) ?? db.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const run = (sql: string, ...values: SQLInputValue[]): number => Number(prepare(sql).run(...values).changes)
  const all = <T>(sql: string, ...values: SQLInputValue[]): T[] => prepare(sql).all(...values) as T[]
  const get = <T>(sql: string, ...values: SQLInputValue[]): T | undefined =>
    prepare(sql).get(...values) as T | undefined

  return {
    db,

    transaction<T>(work: () => T): T {
      db.exec('begin immediate')
      try {
        const result = work()
        db.exec('commit')
        return result
      } catch (error) {
        if (db.isTransaction) db.exec('rollback')
        throw error
      }
    },

    instance: (id: string) => get<Instance>(`select ${instanceColumns} from instances where id = ?`, id),

    putInstance: (i: Instance) =>
      run(
        /*sql*/ `
        insert or replace into instances
          (id, execution_id, name, version, status, input, output, custom_status, created_at, updated_at,
           parent_id, parent_execution_id, parent_task_id)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        i.id,
        i.executionId,
        i.name,
        i.version,
        i.status,
        i.input,
        i.output,
        i.customStatus,
        i.createdAt,
        i.updatedAt,
        i.parentId,
        i.parentExecutionId,
        i.parentTaskId,
      ),

    /** Instances by creation time, after a given one; conditions are optional. */
    listInstances(filter: InstanceFilter, after: { createdAt: string; id: string } | undefined, limit: number) {
      const { sql, values } = filterSql(filter)
      const start = after ?? { createdAt: '', id: '' }
      return all<Instance>(
        /*sql*/ `
        select ${instanceColumns} from instances
         where ${sql} and (created_at, id) > (?, ?)
         order by created_at, id limit ?`,
        ...values,
        start.createdAt,
        start.id,
        limit,
      )
    },

    history: (id: string) =>
      all<{ event: string }>('select event from history where instance_id = ? order by seq', id).map(
        ({ event }) => JSON.parse(event) as HistoryEvent,
      ),

    appendHistory(id: string, firstSeq: number, events: HistoryEvent[]): void {
      events.forEach((event, index) =>
        run(
          'insert into history (instance_id, seq, event) values (?, ?, ?)',
          id,
          firstSeq + index,
          JSON.stringify(event),
        ),
      )
    },

    inbox: (id: string): InboxEntry[] =>
      all<{ seq: number; executionId: string | null; event: string }>(
        /*sql*/ `
        select seq, execution_id as executionId, event from inbox
         where instance_id = ? order by late, seq`,
        id,
      ).map(({ seq, executionId, event }) => ({ seq, executionId, message: JSON.parse(event) as Message })),

    /** Puts a message into an instance's inbox; without an execution id it is for whatever generation runs then. */
    send: (id: string, message: Message, executionId: string | null = null) =>
      run(
        'insert into inbox (instance_id, execution_id, event) values (?, ?, ?)',
        id,
        executionId,
        JSON.stringify(message),
      ),

    /** As `send`, but ahead of every message that is waiting already. */
    sendFirst: (id: string, message: Message) =>
      run('insert into inbox (instance_id, late, event) values (?, 0, ?)', id, JSON.stringify(message)),

    deleteMessage: (seq: number) => run('delete from inbox where seq = ?', seq),

    instancesWithMessages: () =>
      all<{ id: string }>('select distinct instance_id as id from inbox').map(({ id }) => id),

    enqueueActivity: (instanceId: string, executionId: string, taskId: number, name: string, input: string | null) =>
      run(
        'insert into activities (instance_id, execution_id, task_id, name, input) values (?, ?, ?, ?, ?)',
        instanceId,
        executionId,
        taskId,
        name,
        input,
      ),

    /** Takes the lease of the oldest waiting activities. */
    leaseActivities: (owner: string, limit: number) =>
      all<QueuedActivity>(
        /*sql*/ `
        update activities set owner = ?, attempt = attempt + 1
         where id in (select id from activities where owner is null order by id limit ?)
        returning ${activityColumns}`,
        owner,
        limit,
      ).toSorted((a, b) => a.id - b.id),

    /** Takes the lease from whoever has it. */
    seizeActivity: (owner: string, id: number) =>
      get<QueuedActivity>(
        `update activities set owner = ?, attempt = attempt + 1 where id = ? returning ${activityColumns}`,
        owner,
        id,
      ),

    /** True when the lease was still the caller's; the activity is gone then. */
    finishActivity: (owner: string, { id, attempt }: QueuedActivity) =>
      run('delete from activities where id = ? and owner = ? and attempt = ?', id, owner, attempt) === 1,

    dropLeases: () => run('update activities set owner = null where owner is not null'),

    deleteWaitingActivities: (instanceId: string) =>
      run('delete from activities where instance_id = ? and owner is null', instanceId),

    /** Those whose instance has ended or moved on while they were running, and the host with them. */
    deleteOrphanedActivities: () =>
      run(/*sql*/ `
        delete from activities as a
         where not exists (select 1 from instances as i
                            where i.id = a.instance_id and i.execution_id = a.execution_id
                              and i.status in ('Pending', 'Running', 'Suspended'))`),

    addTimer: ({ instanceId, executionId, taskId, fireAt }: Timer) =>
      run('insert into timers values (?, ?, ?, ?)', instanceId, executionId, taskId, fireAt),

    deleteTimer: (instanceId: string, executionId: string, taskId: number) =>
      run(
        'delete from timers where instance_id = ? and execution_id = ? and task_id = ?',
        instanceId,
        executionId,
        taskId,
      ),

    deleteTimers: (instanceId: string) => run('delete from timers where instance_id = ?', instanceId),

    nextTimer: () => get<Timer>(`select ${timerColumns} from timers order by fire_at limit 1`),

    dueTimers: (now: string) =>
      all<Timer>(`select ${timerColumns} from timers where fire_at <= ? order by fire_at, task_id`, now),

    /** Forgets everything that an instance consists of, save its row. */
    clearInstance(id: string): void {
      run('delete from history where instance_id = ?', id)
      run('delete from inbox where instance_id = ?', id)
      run('delete from activities where instance_id = ?', id)
      run('delete from timers where instance_id = ?', id)
    },

    deleteHistory: (id: string) => run('delete from history where instance_id = ?', id),
    deleteInbox: (id: string) => run('delete from inbox where instance_id = ?', id),
    deleteInstance: (id: string) => run('delete from instances where id = ?', id),
  }
}

export interface InstanceFilter {
  createdTimeFrom?: string
  createdTimeTo?: string
  statuses?: string[]
  idPrefix?: string
}

function filterSql({ createdTimeFrom, createdTimeTo, statuses = [], idPrefix }: InstanceFilter) {
  const conditions: [sql: string, ...values: string[]][] = [['true']]
  if (createdTimeFrom) conditions.push(['created_at >= ?', createdTimeFrom])
  if (createdTimeTo) conditions.push(['created_at <= ?', createdTimeTo])
  if (idPrefix) conditions.push(['substr(id, 1, length(?)) = ?', idPrefix, idPrefix])
  if (statuses.length > 0) conditions.push([`status in (${statuses.map(() => '?').join(', ')})`, ...statuses])
  return {
    sql: conditions.map(([sql]) => sql).join(' and '),
    values: conditions.flatMap(([, ...values]) => values),
  }
}
