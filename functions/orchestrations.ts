import * as df from 'durable-functions'
import { migrateDatabase } from '../orchestrations/migrate-database.ts'
import { migrateServer } from '../orchestrations/migrate-server.ts'

df.app.orchestration('migrateServer', migrateServer)
df.app.orchestration('migrateDatabase', migrateDatabase)
