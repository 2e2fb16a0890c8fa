/**
 * Routes of HTTP functions in the syntax of ASP.NET: literals, `{name}`, `{name?}`, `{*rest}`, and constraints like
 * `{id:int}`, of which the ones for numbers, GUIDs and letters are checked and others let everything through.
 */

type Segment =
  | { kind: 'literal'; text: string }
  | { kind: 'parameter'; name: string; optional: boolean; constraint?: string }
  | { kind: 'rest'; name: string }

export interface Route<T> {
  segments: Segment[]
  /** In capitals; empty for all. */
  methods: string[]
  target: T
}

export interface RouteMatch<T> {
  target: T
  params: Record<string, string>
}

const constraints: Record<string, RegExp> = {
  int: /^-?\d+$/,
  long: /^-?\d+$/,
  guid: /^\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$/i,
  alpha: /^[a-z]+$/i,
  bool: /^(true|false)$/i,
}

export function parseRoute<T>(template: string, methods: string[], target: T): Route<T> {
  const segments = template
    .split('/')
    .filter(Boolean)
    .map((text): Segment => {
      const [, star, name, constraint, optional] = /^\{(\*{0,2})(\w+)(?::([^?}]+))?(\?)?\}$/.exec(text) ?? []
      if (name === undefined) return { kind: 'literal', text: text.toLowerCase() }
      if (star) return { kind: 'rest', name }
      return { kind: 'parameter', name, optional: optional === '?', constraint: constraint?.toLowerCase() }
    })
  return { segments, methods, target }
}

/** Finds the function for a request. Of several that match, the one with the earlier literal segment wins. */
export function matchRoute<T>(routes: Route<T>[], method: string, path: string): RouteMatch<T> | undefined {
  const parts = decodePath(path)
  if (!parts) return undefined
  return routes
    .filter(({ methods }) => methods.length === 0 || methods.includes(method))
    .flatMap((route) => {
      const params = matchSegments(route.segments, parts)
      return params ? [{ route, params }] : []
    })
    .toSorted((a, b) => (precedence(a.route) < precedence(b.route) ? -1 : 1))
    .map(({ route: { target }, params }) => ({ target, params }))[0]
}

/** The decoded segments; undefined when an escape is malformed. */
export function decodePath(path: string): string[] | undefined {
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent)
  } catch {
    return undefined
  }
}

function matchSegments(segments: Segment[], parts: string[]): Record<string, string> | undefined {
  const params: Record<string, string> = {}
  for (const [index, segment] of segments.entries()) {
    const part = parts[index]
    if (segment.kind === 'rest') {
      params[segment.name] = parts.slice(index).join('/')
      return params
    }
    if (part === undefined) {
      if (segment.kind === 'parameter' && segment.optional) continue
      return undefined
    }
    if (segment.kind === 'literal') {
      if (part.toLowerCase() !== segment.text) return undefined
    } else {
      if (segment.constraint && constraints[segment.constraint]?.test(part) === false) return undefined
      params[segment.name] = part
    }
  }
  return parts.length > segments.length ? undefined : params
}

/** Sorts literals before constrained parameters, parameters and rests, segment by segment. */
function precedence<T>({ segments }: Route<T>): string {
  const rank = (segment: Segment) =>
    segment.kind === 'literal' ? 1 : segment.kind === 'rest' ? 4 : segment.constraint ? 2 : 3
  return segments.map(rank).join('')
}
