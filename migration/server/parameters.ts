import type { Connection } from '../connect.ts'

/** A server parameter as one server has it. */
export interface Parameter {
  name: string
  /** With its unit, as SHOW prints it. */
  value: string
  /** In the parameter's base unit, as Azure's configurations have it. */
  setting: string
  /** internal, postmaster, sighup, superuser-backend, superuser, backend, user */
  context: string
}

/**
 * Parameters that belong to one machine or one installation: where files are, who listens, how it is
 * archived, which standby follows. They are never carried over, and not worth a line in the report.
 */
const INSTALLATION =
  /^(application_name|archive_|bonjour|cluster_name|config_file|data_(directory|checksums)|debug_|dynamic_library_path|dynamic_shared_memory_type|event_source|external_pid_file|hba_file|ident_file|in_hot_standby|jit_provider|lc_|listen_addresses|local_preload_libraries|log_(directory|destination|filename|file_mode|line_prefix|timezone)|logging_collector|max_stack_depth|port$|primary_|promote_trigger_file|recovery_|restore_command|server_encoding|client_encoding|shared_memory_type|ssl|standby_|stats_temp_directory|synchronous_standby_names|syslog|timezone_abbreviations|transaction_|unix_socket_|update_process_title|wal_(segment_size|block_size|sync_method)|default_transaction_read_only|session_replication_role|rds\.|rdsadmin|apg_|aurora_|cloudsql\.|google_|alloydb\.|azure)/i

/** Sizes that follow the machine: a target of another size wants other values. */
const SIZED_BY_MACHINE =
  /^(shared_buffers|huge_pages|effective_cache_size|work_mem|maintenance_work_mem|autovacuum_work_mem|max_connections|max_worker_processes|max_parallel_|max_wal_size|min_wal_size|wal_buffers|effective_io_concurrency|maintenance_io_concurrency|io_|max_(wal_senders|replication_slots)|wal_level|temp_file_limit|shared_preload_libraries|superuser_reserved_connections|reserved_connections)/i

/**
 * The parameters of a server that differ from PostgreSQL's built-in default. The connection must have no
 * settings of its own, which would hide the server's. https://www.postgresql.org/docs/current/view-pg-settings.html
 */
export async function readChangedParameters(connection: Connection): Promise<Parameter[]> {
  const { rows } = await connection.query<Parameter>(`
    select name, current_setting(name) as value, setting, context
      from pg_catalog.pg_settings
     where source not in ('default', 'override', 'client', 'session', 'database', 'user', 'database user')
       and setting is distinct from boot_val
       and context <> 'internal'
     order by name`)
  return rows.filter(({ name }) => !INSTALLATION.test(name))
}

export function isSizedByMachine(name: string): boolean {
  return SIZED_BY_MACHINE.test(name)
}

/** The settings of one database for all of its users: `ALTER DATABASE … SET`. */
export async function readDatabaseSettings(connection: Connection): Promise<{ name: string; value: string }[]> {
  const { rows } = await connection.query<{ setting: string }>(`
    select unnest(setconfig) as setting
      from pg_catalog.pg_db_role_setting
     where setrole = 0
       and setdatabase = (select oid from pg_catalog.pg_database where datname = current_database())`)
  return rows.map(({ setting }) => {
    const equals = setting.indexOf('=')
    return { name: setting.slice(0, equals), value: setting.slice(equals + 1) }
  })
}

/**
 * The value of `ALTER … SET`: parameters that are lists of names take several values, and a quoted list
 * would be one name. https://github.com/postgres/postgres GUC_LIST_INPUT: these are all that users set.
 */
export function isListParameter(name: string): boolean {
  return /^(search_path|temp_tablespaces|session_preload_libraries|local_preload_libraries|shared_preload_libraries|datestyle)$/i.test(
    name,
  )
}
