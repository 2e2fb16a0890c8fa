import { expect, it } from 'vitest'
import { openApiDocument } from '../../../migration/model/openapi.ts'

interface Document {
  paths: Record<string, Record<string, { operationId: string; parameters: { name: string; in: string }[] }>>
  components: { schemas: Record<string, { properties?: Record<string, { properties?: object; required?: string[] }> }> }
}

const document = JSON.parse(JSON.stringify(openApiDocument())) as Document
const text = JSON.stringify(document)

it('every reference leads somewhere', () => {
  const references = [...text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name!)
  expect(references.length).toBeGreaterThan(10)
  expect(references.filter((name) => !(name in document.components.schemas))).toEqual([])
  expect([...text.matchAll(/"\$ref"/g)]).toHaveLength(references.length)
})

it('every operation has an id of its own and declares the parameters of its path', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, operation })),
  )
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
  for (const { path, operation } of operations) {
    const declared = operation.parameters.filter((one) => one.in === 'path').map(({ name }) => name)
    expect(declared).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
  }
})

it('what has a default may be left out of a new migration', () => {
  const properties = document.components.schemas['MigrationForCreate']!.properties!['properties']!
  expect(Object.keys(properties.properties!)).toEqual(
    expect.arrayContaining(['dbsToMigrate', 'secretParameters', 'pgflex']),
  )
  expect(properties.required).toBeUndefined()
})
