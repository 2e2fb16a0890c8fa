import { CredentialUnavailableError } from '@azure/identity'
import { expect, test } from 'vitest'
import { targetToken } from '../../azure/target-token.ts'

const MINUTE = 60_000

/** A credential whose tokens are numbered and last an hour on a clock of the test. */
function hourly() {
  const clock = { ms: 0 }
  const asked: unknown[] = []
  const token = targetToken(
    {
      async getToken(scopes) {
        asked.push(scopes)
        return { token: `token ${asked.length}`, expiresOnTimestamp: clock.ms + 60 * MINUTE }
      },
    },
    () => clock.ms,
  )
  return { clock, asked, token }
}

test('the token is for Azure Database for PostgreSQL', async () => {
  const { asked, token } = hourly()
  await token()
  expect(asked).toEqual(['https://ossrdbms-aad.database.windows.net/.default'])
})

test('a token serves until five minutes before its expiry', async () => {
  const { clock, token } = hourly()
  expect(await token()).toBe('token 1')
  clock.ms = 55 * MINUTE - 1
  expect(await token()).toBe('token 1')
  clock.ms = 55 * MINUTE
  expect(await token()).toBe('token 2')
})

test('callers at the same time share one request', async () => {
  const { asked, token } = hourly()
  expect(await Promise.all([token(), token(), token()])).toEqual(['token 1', 'token 1', 'token 1'])
  expect(asked).toHaveLength(1)
})

test('a failure is told, and not remembered', async () => {
  let tries = 0
  const token = targetToken({
    async getToken() {
      if (tries++ === 0) throw new CredentialUnavailableError('no managed identity here')
      return { token: 'second', expiresOnTimestamp: Date.now() + 60 * MINUTE }
    },
  })
  await expect(token()).rejects.toMatchObject({ code: 'AzureSignIn', message: expect.stringContaining('no managed') })
  expect(await token()).toBe('second')
})
