import { join } from 'node:path'
import { databaseContext, serverContext } from '../../../migration/context.ts'
import { loadLargeObjects } from '../../../migration/load/large-objects.ts'
import { silentLogger } from '../../../migration/log.ts'
import { fileDocuments } from '../../../migration/store/file-documents.ts'
import { fileSecrets } from '../../../migration/store/file-secrets.ts'

// The load of large objects in a process of its own, for tests that kill it or look at its memory. Arguments: folder of
// the test migration, its key, the database.
const [folder = '', key = '', database = ''] = process.argv.slice(2)
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
const result = await loadLargeObjects(context)
// maxRSS is in kilobytes.
process.stdout.write(JSON.stringify({ ...result, peakBytes: process.resourceUsage().maxRSS * 1024 }))
