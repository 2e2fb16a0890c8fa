import { expect, it } from 'vitest'
import { errorResponse } from '../../functions/errors.ts'
import { MigrationError } from '../../migration/errors.ts'
import type { Logger } from '../../migration/log.ts'
import { InvalidInput, problem } from '../../migration/model/invalid-input.ts'

function logger(): Logger & { lines: string[] } {
  const lines: string[] = []
  const write = (message: string, values?: object): void => void lines.push(`${message} ${JSON.stringify(values)}`)
  return { lines, info: write, warn: write, error: write }
}

it('a refusal has its status, and says what to do', () => {
  const log = logger()
  const error = new MigrationError('CutoverNotReady', 'It has to wait.', {
    hint: 'Ask again.',
    target: 'properties.triggerCutover',
  })
  expect(errorResponse(error, 'id', log)).toEqual({
    status: 409,
    jsonBody: {
      error: { code: 'CutoverNotReady', message: 'It has to wait. Ask again.', target: 'properties.triggerCutover' },
    },
  })
  expect(log.lines).toEqual([])
})

it('every problem of a request is a detail', () => {
  const details = [problem('a', 'a is missing.'), problem('b', 'b is wrong.')]
  expect(errorResponse(new InvalidInput(details), 'id', logger())).toEqual({
    status: 400,
    jsonBody: {
      error: { code: 'InvalidInput', message: 'The request has 2 problems: a is missing. b is wrong.', details },
    },
  })
})

it('what nobody expected is logged once with the id of the request, and shown to nobody', () => {
  for (const error of [new Error('s3cr3t in a message'), new MigrationError('SlotLost', 's3cr3t'), 's3cr3t']) {
    const log = logger()
    const response = errorResponse(error, 'request-1', log)
    expect(response.status).toBe(500)
    expect(JSON.stringify(response)).toContain('request-1')
    expect(JSON.stringify(response)).not.toContain('s3cr3t')
    expect(log.lines).toEqual([expect.stringMatching(/request-1.*s3cr3t/)])
  }
})
