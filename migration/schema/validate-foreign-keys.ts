import type { DatabaseContext } from '../context.ts'
import { applyPostData, type PostDataResult } from './apply-post-data.ts'

/**
 * Checks the rows that were there before their foreign keys, in parallel and without stopping readers or
 * writers. Idempotent; those that were not valid on the source stay so.
 */
export function validateForeignKeys(context: DatabaseContext): Promise<PostDataResult> {
  return applyPostData(context, 'validate')
}
