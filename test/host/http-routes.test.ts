import { expect, test } from 'vitest'
import { matchRoute, parseRoute } from '../../host/http-routes.ts'

const routes = [
  parseRoute('/', ['GET'], 'page'),
  parseRoute('{*file}', ['GET'], 'any file'),
  parseRoute('jobs', ['GET', 'POST'], 'list'),
  parseRoute('jobs/{name}', [], 'one'),
  parseRoute('jobs/summary', ['GET'], 'summary'),
  parseRoute('jobs/{id:int}', ['GET'], 'numbered'),
  parseRoute('jobs/{name}/tables/{table?}', ['GET'], 'tables'),
]
const match = (method: string, path: string) => matchRoute(routes, method, path)

test.for([
  ['GET', '/', 'page', {}],
  ['GET', '/style.css', 'any file', { file: 'style.css' }],
  ['GET', '/a/b/c', 'any file', { file: 'a/b/c' }],
  ['GET', '/jobs', 'list', {}],
  ['GET', '/jobs/', 'list', {}],
  ['GET', '/JOBS/Summary', 'summary', {}],
  ['PUT', '/jobs/summary', 'one', { name: 'summary' }],
  ['GET', '/jobs/12', 'numbered', { id: '12' }],
  ['DELETE', '/jobs/12', 'one', { name: '12' }],
  ['GET', '/jobs/Shop%20A%2FB', 'one', { name: 'Shop A/B' }],
  ['GET', '/jobs/a/tables', 'tables', { name: 'a' }],
  ['GET', '/jobs/a/tables/public.t', 'tables', { name: 'a', table: 'public.t' }],
] as const)('%s %s is for %s', ([method, path, target, params]) => {
  expect(match(method, path)).toEqual({ target, params })
})

test.for([
  ['POST', '/'],
  ['DELETE', '/jobs'],
  ['POST', '/jobs/a/tables/t/more'],
  ['GET', '/jobs/%E0%A4%A'],
] as const)('%s %s is for nobody', ([method, path]) => {
  expect(match(method, path)).toBeUndefined()
})
