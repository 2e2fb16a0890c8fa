import { expect, test } from 'vitest'
import { withoutFollowUps } from '../../../migration/schema/apply-pre-data.ts'
import type { PlannedStatement } from '../../../migration/schema/statements.ts'

function statement(kind: string, objectName: string, state: PlannedStatement['state']): PlannedStatement {
  return { position: 0, kind, schemaName: 's', objectName, tableName: null, sql: '', state, message: 'why' }
}

test('owner and grants of an object that could not be made are no news', () => {
  const failed = statement('FUNCTION', 'f', 'failed')
  const ofLanguage = statement('PROCEDURAL LANGUAGE', 'l', 'failed')
  expect(
    withoutFollowUps([
      failed,
      statement('OWNER OF FUNCTION', 'f', 'skipped'),
      statement('ACL ON FUNCTION', 'f', 'skipped'),
      ofLanguage,
      statement('OWNER OF LANGUAGE', 'l', 'skipped'),
    ]),
  ).toEqual([failed, ofLanguage])
})

test('they are told where another object of that name was made, whose grants they may be', () => {
  const statements = [
    statement('FUNCTION', 'f', 'failed'),
    statement('FUNCTION', 'f', 'done'),
    statement('ACL ON FUNCTION', 'f', 'skipped'),
  ]
  expect(withoutFollowUps(statements)).toEqual(statements)
})
