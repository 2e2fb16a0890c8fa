import { z } from 'zod'
import { MigrationError } from '../errors.ts'

/** One thing that is wrong with a request. */
export interface Problem {
  code: string
  message: string
  /** The field, such as `properties.migrationMode`. */
  target: string
}

/** A request that cannot be carried out as it is: everything that is wrong with it, at once. */
export class InvalidInput extends MigrationError {
  readonly details: Problem[]

  constructor(details: Problem[]) {
    const [first] = details
    super(
      'InvalidInput',
      details.length === 1 ? first!.message : `The request has ${details.length} problems: ${sentences(details)}`,
      details.length === 1 ? { target: first!.target } : {},
    )
    this.name = 'InvalidInput'
    this.details = details
  }
}

function sentences(details: Problem[]): string {
  return details.map(({ message }) => message).join(' ')
}

export function problem(target: string, message: string, code = 'InvalidInput'): Problem {
  return { code, message, target }
}

/** What zod found, in words for somebody who edits a properties file; values are left out, they may be secrets. */
export function problemsOf(schema: z.ZodType, { issues }: z.ZodError): Problem[] {
  return issues.flatMap((issue) => {
    const target = issue.path.map(String).join('.') || 'body'
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(schema, issue.path, key))
    if (issue.code === 'invalid_value') return [problem(target, `${target} must be ${oneOf(issue.values)}.`)]
    if (issue.code !== 'invalid_type') return [problem(target, `${target}: ${issue.message}.`)]
    return [problem(target, isMissing(issue.message) ? `${target} is missing.` : wrongType(target, issue.expected))]
  })
}

// The input itself is not part of an issue; zod's own text tells a missing value from one of the wrong type.
function isMissing(message: string): boolean {
  return message.endsWith('received undefined')
}

function wrongType(target: string, expected: string): string {
  const article = /^[aeio]/.test(expected) ? 'an' : 'a'
  return `${target} must be ${article} ${expected}.`
}

function oneOf(values: readonly unknown[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.join(', ')}`
}

function unknownField(schema: z.ZodType, path: readonly PropertyKey[], key: string): Problem {
  const target = [...path, key].map(String).join('.')
  const known = fieldsAt(schema, path)
  const near = nearest(key, known)
  const hint = near === undefined ? `Known are ${known.join(', ')}.` : `Did you mean ${near}?`
  return problem(target, `There is no field ${target}. ${hint}`)
}

function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let inner: unknown = schema
  for (const part of [...path, undefined]) {
    while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      inner = inner.unwrap()
    }
    if (!(inner instanceof z.ZodObject)) return []
    if (part !== undefined) inner = (inner.shape as Record<string, unknown>)[String(part)]
  }
  return Object.keys((inner as z.ZodObject).shape)
}

/** The known name that is nearest to a mistyped one, or undefined when none is near. */
export function nearest(word: string, known: string[]): string | undefined {
  const lower = word.toLowerCase()
  const [best] = known
    .map((name) => ({ name, distance: editDistance(lower, name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  // A third of the letters may differ: "migrationMod" and "dbToMigrate" are near, "foo" is near to nothing.
  return best !== undefined && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitute = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, substitute))
    }
    previous = row
  }
  return previous[b.length]!
}
