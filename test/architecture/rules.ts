import { dirname, join } from 'node:path/posix'
import { importsOf, lineAt, maskSource } from './scan-source.ts'

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  path: string
  text: string
}

type Rule = (file: SourceFile) => string[]

/** What a folder of the house may import besides itself. Folders that are not listed may import anything. */
const ARROWS: Record<string, string[]> = {
  functions: ['orchestrations', 'migration', 'azure'],
  orchestrations: ['migration/model'],
  migration: [],
  azure: ['migration'],
  host: [],
  cli: ['migration/model'],
  web: ['migration/model'],
}

/** Packages that belong to one place. `type` allows `import type` there. */
const PACKAGES: { name: RegExp; folders: string[]; type?: string[] }[] = [
  { name: /^@azure\/functions$/, folders: ['functions'] },
  { name: /^durable-functions$/, folders: ['functions'], type: ['orchestrations'] },
  { name: /^@azure\/(?!functions$)/, folders: ['azure'], type: ['functions'] },
  { name: /^pg(-|$)/, folders: ['migration'] },
]

/** The one file of the functions that knows the environment and chooses the stores. */
const ENVIRONMENT = 'functions/environment.ts'

const topOf = (path: string): string => path.split('/')[0]!
const at = (file: SourceFile, line: number, text: string): string => `${file.path}:${line} ${text}`

/** The folder of what is imported, or undefined for a package or a module of Node. */
function importedPath(file: SourceFile, specifier: string): string | undefined {
  return specifier.startsWith('.') ? join(dirname(file.path), specifier) : undefined
}

export const arrows: Rule = (file) => {
  const top = topOf(file.path)
  const allowed = ARROWS[top]
  if (!allowed) return []
  return importsOf(file.text).flatMap(({ specifier, line, typeOnly }) => {
    const path = importedPath(file, specifier)
    if (path !== undefined) {
      const ok = topOf(path) === top || allowed.some((folder) => path.startsWith(`${folder}/`))
      if (!ok) return [at(file, line, `${top}/ must not import ${path}`)]
      if (top === 'functions' && topOf(path) === 'azure' && file.path !== ENVIRONMENT) {
        return [at(file, line, `only ${ENVIRONMENT} chooses what is behind azure/`)]
      }
      return []
    }
    const owner = PACKAGES.find(({ name }) => name.test(specifier))
    if (owner && !owner.folders.includes(top) && !(typeOnly && owner.type?.includes(top))) {
      return [at(file, line, `${top}/ must not import ${specifier}${owner.type?.includes(top) ? ' but as types' : ''}`)]
    }
    if (top === 'orchestrations' && !owner) return [at(file, line, `orchestrations/ must not import ${specifier}`)]
    return []
  })
}

/** Folders whose programs are started by hand or by a test, and read the environment that they are started with. */
const READ_ENVIRONMENT = ['host', 'cli', 'demo', 'bench', 'test']

export const environment: Rule = (file) =>
  READ_ENVIRONMENT.includes(topOf(file.path)) || file.path === ENVIRONMENT
    ? []
    : found(
        file,
        /\bprocess\s*\??\.\s*env\b|\bprocess\s*\[|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/g,
        'reads process.env',
      )

/** What gives another answer at the next replay of an orchestration; a Date made of a value is the same each time. */
const IMPURE = new RegExp(
  [
    String.raw`\bDate\s*\.\s*now\b|\bnew\s+Date\b(?!\s*\(\s*[^\s)])|(?<!\bnew\s+)\bDate\s*\(|=\s*Date\b`,
    String.raw`\bMath\s*\.\s*random\b`,
    String.raw`\b(?:process|await|async|fetch|set(?:Timeout|Interval|Immediate)|queueMicrotask|crypto|performance)\b`,
    String.raw`\b(?:globalThis|console|Promise)\b`,
  ].join('|'),
  'g',
)

export const purity: Rule = (file) =>
  topOf(file.path) === 'orchestrations' ? found(file, IMPURE, 'is not deterministic in an orchestration:') : []

function found(file: SourceFile, pattern: RegExp, text: string): string[] {
  return [...maskSource(file.text).matchAll(pattern)].map((match) =>
    at(file, lineAt(file.text, match.index), `${text} ${match[0]}`),
  )
}

const MAX_LINES = 300

/** Tests may be longer: a suite reads from its top to its end. */
export const length: Rule = (file) => {
  if (file.path.startsWith('test/')) return []
  const lines = file.text.trimEnd().split('\n').length
  return lines > MAX_LINES ? [at(file, lines, `has ${lines} lines; the most is ${MAX_LINES}`)] : []
}

const BANNED = new Set(['util', 'utils', 'common', 'helper', 'helpers', 'service', 'services', 'manager', 'managers'])

export const names: Rule = (file) =>
  file.path
    .split('/')
    .filter((part) => part.split(/[-.]/).some((word) => BANNED.has(word.toLowerCase())))
    .map((part) => at(file, 1, `"${part}" says nothing: name the thing that it owns`))

/** Folders of machines on which people and programs work; nothing of this repository is there for its readers. */
const MACHINE_PATH = /(?<=^|[\s"'`(=])\/(?:work|home|Users)\/[\w.-]+/g
/** Package registries are a setting of whoever installs. */
const REGISTRY = /\bregistry\.[a-z-]+\.(?:org|com|io)\b|https?:\/\/[\w.-]*(?:jfrog|artifactory|nexus)[\w.-]*/g
const RELATIVE = /(?<=["'`(\s]|^)(?:\.\.?\/)*\.\.\/[\w./-]*/g

/** Nothing leads out of the repository: no relative path, no path of a machine, no registry. */
export const inside: Rule = (file) => {
  const lines = file.text.split('\n')
  return lines.flatMap((text, index) => [
    ...[...text.matchAll(MACHINE_PATH)].map(([path]) => at(file, index + 1, `names a path of one machine: ${path}`)),
    ...[...text.matchAll(REGISTRY)].map(([host]) => at(file, index + 1, `names a package registry: ${host}`)),
    ...[...text.matchAll(RELATIVE)]
      .filter(([path]) => join(dirname(file.path), path).startsWith('..'))
      .map(([path]) => at(file, index + 1, `leads out of the repository: ${path}`)),
  ])
}
