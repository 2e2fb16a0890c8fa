import { openApiDocument } from '../migration/model/openapi.ts'
import { cacheable, route } from './http.ts'

let document: object | undefined

route('openapi', { methods: ['GET'], route: 'openapi.json', apiVersion: 'any' }, async (request) => {
  document ??= openApiDocument()
  return cacheable(request, document)
})
