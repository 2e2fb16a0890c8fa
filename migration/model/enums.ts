/** The words of the Azure resource, api-version 2025-08-01, in their canonical spelling. */

export const MIGRATION_MODES = ['Offline', 'Online'] as const

export const MIGRATION_OPTIONS = ['Validate', 'Migrate', 'ValidateAndMigrate'] as const

export const SSL_MODES = ['Prefer', 'Require', 'VerifyCA', 'VerifyFull'] as const

export const SOURCE_TYPES = [
  'OnPremises',
  'AWS',
  'GCP',
  'AzureVM',
  'PostgreSQLSingleServer',
  'AWS_RDS',
  'AWS_AURORA',
  'AWS_EC2',
  'GCP_CloudSQL',
  'GCP_AlloyDB',
  'GCP_Compute',
  'EDB',
  'EDB_Oracle_Server',
  'EDB_PostgreSQL',
  'PostgreSQLFlexibleServer',
  'PostgreSQLCosmosDB',
  'Huawei_RDS',
  'Huawei_Compute',
  'Heroku_PostgreSQL',
  'Crunchy_PostgreSQL',
  'ApsaraDB_RDS',
  'Digital_Ocean_Droplets',
  'Digital_Ocean_PostgreSQL',
  'Supabase_PostgreSQL',
] as const

export const MIGRATION_STATES = [
  'InProgress',
  'WaitingForUserAction',
  'Canceled',
  'Failed',
  'Succeeded',
  'ValidationFailed',
  'CleaningUp',
] as const

export const MIGRATION_SUBSTATES = [
  'PerformingPreRequisiteSteps',
  'WaitingForLogicalReplicationSetupRequestOnSourceDB',
  'WaitingForDBsToMigrateSpecification',
  'WaitingForTargetDBOverwriteConfirmation',
  'WaitingForDataMigrationScheduling',
  'WaitingForDataMigrationWindow',
  'MigratingData',
  'WaitingForCutoverTrigger',
  'CompletingMigration',
  'Completed',
  'CancelingRequestedDBMigrations',
  'ValidationInProgress',
] as const

export const MIGRATION_DATABASE_STATES = [
  'InProgress',
  'WaitingForCutoverTrigger',
  'Failed',
  'Canceled',
  'Succeeded',
  'Canceling',
] as const

export const VALIDATION_STATES = ['Failed', 'Succeeded', 'Warning'] as const

export type MigrationState = (typeof MIGRATION_STATES)[number]
export type MigrationSubstate = (typeof MIGRATION_SUBSTATES)[number]

/** `type` of the resource. */
export const MIGRATION_TYPE = 'Microsoft.DBforPostgreSQL/flexibleServers/migrations'
