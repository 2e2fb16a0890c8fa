import { expect, test } from 'vitest'
import { rightsStatements, wantedOnTarget } from '../../../migration/load/large-object-rights.ts'
import type { TargetRoles } from '../../../migration/schema/roles.ts'

const ours = { inherited: true, settable: true }
const roles: TargetRoles = {
  current: 'admin',
  roles: new Map([
    ['admin', ours],
    ['app', ours],
    ['reader', { inherited: false, settable: false }],
  ]),
}
const fresh = { oid: 7, owner: 'admin', rights: { '': 'rw' }, comment: null }

test('an object as it should be needs no statement, one that was just made only its owner', () => {
  const wanted = { ...fresh, owner: 'app' }
  expect(rightsStatements(wanted, wanted)).toEqual([])
  expect(rightsStatements(wanted, fresh)).toEqual(['alter large object 7 owner to "app"'])
})

test('an owner that is not there, or that we are no member of, is replaced by our role', () => {
  expect(wantedOnTarget({ ...fresh, owner: 'gone' }, roles).owner).toBe('admin')
  expect(wantedOnTarget({ ...fresh, owner: 'reader' }, roles).owner).toBe('admin')
  expect(wantedOnTarget({ ...fresh, owner: 'app' }, roles).owner).toBe('app')
})

test('rights of roles that are not there are left out, and those of our role become those of the owner', () => {
  const wanted = wantedOnTarget({ ...fresh, owner: 'gone', rights: { '': 'r', admin: 'w*', lost: 'r' } }, roles)
  expect(wanted.rights).toEqual({ '': 'rw' })
})

test('only rights that differ are revoked and granted', () => {
  const present = { ...fresh, rights: { '': 'rw', public: 'r', reader: 'rw*', app: 'r' } }
  const wanted = { ...fresh, rights: { '': 'r', public: 'r', reader: 'r*' }, comment: `it's` }
  expect(rightsStatements(wanted, present)).toEqual([
    'revoke all on large object 7 from "admin"',
    'grant select on large object 7 to "admin"',
    'revoke all on large object 7 from "reader"',
    'grant select on large object 7 to "reader" with grant option',
    'revoke all on large object 7 from "app"',
    `comment on large object 7 is 'it''s'`,
  ])
})

test('a new owner that had rights already has those of an owner', () => {
  const present = { ...fresh, rights: { '': 'r', app: 'w' } }
  expect(rightsStatements({ ...fresh, owner: 'app' }, present)).toEqual(['alter large object 7 owner to "app"'])
})
