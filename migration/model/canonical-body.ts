import { z } from 'zod'

/**
 * Names under which clients have sent a property, besides other casings of it: the properties file of the az
 * command line, and the keys of its 2022 version (one of them with a spelling mistake that was published).
 * All in lower case.
 */
const ALIASES: Record<string, string> = {
  migrationruntimeresourceid: 'migrationInstanceResourceId',
  dbstotriggercutovermigrationon: 'dbsToTriggerCutoverOn',
  dbstotiggercutoveron: 'dbsToTriggerCutoverOn',
  dbstocancelmigration: 'dbsToCancelMigrationOn',
}

/**
 * Brings a JSON body to the spelling of a schema: keys and the words of enumerations whatever their case,
 * `true`, `"true"` and `"True"` alike, nulls left out. What the schema doesn't know stays as it is, for the
 * schema to name it. Where a key appears in two spellings, the later one wins: the az command line appends
 * its options to the user's file.
 */
export function canonicalBody(schema: z.ZodType, value: unknown): unknown {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodObject && isPlainObject(value)) {
    const names = new Map(Object.keys(inner.shape).map((name) => [name.toLowerCase(), name]))
    const result: Record<string, unknown> = {}
    for (const [key, child] of Object.entries(value)) {
      if (child === null) continue
      const lower = key.toLowerCase()
      const alias = ALIASES[lower]
      const name = names.get(lower) ?? (alias !== undefined && alias in inner.shape ? alias : undefined)
      // Own property whatever its name: "__proto__" in a body is data.
      Object.defineProperty(result, name ?? key, {
        value: name === undefined ? child : canonicalBody(inner.shape[name] as z.ZodType, child),
        enumerable: true,
        configurable: true,
        writable: true,
      })
    }
    return result
  }
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    return value.map((item) => canonicalBody(inner.element as z.ZodType, item))
  }
  if (inner instanceof z.ZodEnum && (typeof value === 'string' || typeof value === 'boolean')) {
    const lower = String(value).toLowerCase()
    return inner.options.find((option) => String(option).toLowerCase() === lower) ?? value
  }
  if (inner instanceof z.ZodBoolean && typeof value === 'string') {
    const lower = value.toLowerCase()
    return lower === 'true' ? true : lower === 'false' ? false : value
  }
  return value
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap() as z.ZodType
  }
  return inner
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
