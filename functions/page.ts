import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { app, type HttpResponseInit } from '@azure/functions'
import { PACKAGE_ROOT } from './package-root.ts'

/** The files of the page by name, and where they are below the package: sources, and what the compiler made. */
const FILES: Record<string, { path: string; type: string }> = {
  'index.html': { path: 'web/index.html', type: 'text/html; charset=utf-8' },
  'page.css': { path: 'web/page.css', type: 'text/css; charset=utf-8' },
  'page.js': { path: 'dist/web/page.js', type: 'text/javascript; charset=utf-8' },
}

/** Nothing but this page's own files and its own API; no frame of another site may show it. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-cache',
}

// Anonymous: the files are public, the key is asked for by every request that the page makes.
app.http('page', {
  methods: ['GET', 'HEAD'],
  authLevel: 'anonymous',
  route: '{file?}',
  handler: async (request) => page(request.params['file']),
})

async function page(name = 'index.html'): Promise<HttpResponseInit> {
  const file = Object.hasOwn(FILES, name) ? FILES[name] : undefined
  if (!file) return { status: 404, headers: HEADERS, body: 'Not found' }
  return {
    status: 200,
    headers: { ...HEADERS, 'content-type': file.type },
    body: await readFile(join(PACKAGE_ROOT, file.path)),
  }
}
