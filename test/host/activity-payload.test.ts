import { expect, test } from 'vitest'
import { activityArgument, activityCompleted, activityFailed } from '../../host/activity-payload.ts'

const now = new Date('2030-01-01T00:00:00Z')

test.for([
  ['[{"a":[1]}]', { string: '{"a":[1]}' }],
  ['["text"]', { string: 'text' }],
  ['[12]', { string: '12' }],
  ['[false]', { string: 'False' }],
  ['[null]', {}],
  [null, {}],
] as const)('the argument %s travels as text', ([input, data]) => {
  expect(activityArgument(input)).toEqual(data)
})

test.for([
  [undefined, 'null'],
  [null, 'null'],
  [{ json: '{"a":1}' }, '{"a":1}'],
  [{ string: 'te"xt' }, '"te\\"xt"'],
  [{ int: 0 }, '0'],
  [{ double: 1.5 }, '1.5'],
  [{ bytes: Buffer.from('abc') }, '"YWJj"'],
] as const)('the result %j is stored as JSON text', ([value, text]) => {
  expect(activityCompleted(7, value, now)).toMatchObject({ TaskScheduledId: 7, Result: text })
})

test('a failure names the activity and hides credentials', () => {
  expect(activityFailed(3, 'copyTable', new TypeError('no way to postgres://a:b@c'), now)).toMatchObject({
    TaskScheduledId: 3,
    Reason: "Activity function 'copyTable' failed: no way to postgres://[Hidden Credential]@c",
    Details: '{"ClassName":"TypeError","Message":"no way to postgres://[Hidden Credential]@c"}',
  })
})

test('what an exception properties provider says becomes failure details', () => {
  const message = JSON.stringify({
    errorType: 'MigrationError',
    errorMessage: 'slot lost',
    isNonRetriable: false,
    properties: { code: 'SLOT_LOST' },
    stackTrace: 'at x',
  })
  const failure = activityFailed(3, 'slice', new Error(message), now)
  expect(failure.Reason).toBe("Activity function 'slice' failed: slot lost")
  expect(failure.FailureDetails).toEqual({
    ErrorType: 'MigrationError',
    ErrorMessage: 'slot lost',
    IsNonRetriable: false,
    Properties: { code: 'SLOT_LOST' },
  })
})

test('a message that merely looks like JSON is a message', () => {
  expect(activityFailed(3, 'slice', new Error('{"errorType": 1}'), now)).not.toHaveProperty('FailureDetails')
  expect(activityFailed(3, 'slice', new Error('{oops'), now).Reason).toContain('{oops')
})
