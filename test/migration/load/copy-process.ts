import { join } from 'node:path'
import { databaseContext, serverContext } from '../../../migration/context.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { silentLogger } from '../../../migration/log.ts'
import { fileDocuments } from '../../../migration/store/file-documents.ts'
import { fileSecrets } from '../../../migration/store/file-secrets.ts'

// One copy activity in a process of its own, for tests that kill it. Arguments: folder of the test migration, its key,
// the database, the number of the worker.
const [folder = '', key = '', database = '', worker = '0'] = process.argv.slice(2)
const context = databaseContext(
  await serverContext(
    {
      documents: fileDocuments(join(folder, 'documents')),
      secrets: fileSecrets(join(folder, 'secrets')),
      log: silentLogger,
      draining: new AbortController().signal,
    },
    key,
  ),
  database,
)
const result = await copyTables(context, { worker: Number(worker) })
// kB: https://nodejs.org/api/process.html#processresourceusage
process.stdout.write(`${JSON.stringify({ ...result, maxRSS: process.resourceUsage().maxRSS })}\n`)
