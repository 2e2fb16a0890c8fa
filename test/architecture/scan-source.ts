export interface Import {
  specifier: string
  line: number
  /** True for `import type` and `export type`, which leave nothing in the compiled program. */
  typeOnly: boolean
}

/**
 * The source with comments, the contents of strings and regular expressions blanked out, position by position,
 * so that a word found in it is code. What stands in `${}` of a template is code and stays.
 */
export function maskSource(source: string): string {
  const out = source.split('')
  const blank = (from: number, to: number): void => {
    for (let i = from; i < Math.min(to, out.length); i++) if (out[i] !== '\n') out[i] = ' '
  }
  /** For each open `${`: how many braces are open inside it. */
  const templates: number[] = []
  let i = 0

  /** Blanks a template's text from `from` to its end or its next `${`. */
  function template(from: number): number {
    let end = from
    while (end < source.length && source[end] !== '`' && !source.startsWith('${', end)) {
      end += source[end] === '\\' ? 2 : 1
    }
    blank(from, end)
    if (source[end] === '`') return end + 1
    templates.push(0)
    return end + 2
  }

  while (i < source.length) {
    const c = source[i]!
    if (source.startsWith('//', i)) {
      const end = source.indexOf('\n', i)
      blank(i, end === -1 ? source.length : end)
      i = end === -1 ? source.length : end
    } else if (source.startsWith('/*', i)) {
      const end = source.indexOf('*/', i + 2)
      blank(i, end === -1 ? source.length : end + 2)
      i = end === -1 ? source.length : end + 2
    } else if (c === "'" || c === '"') {
      let end = i + 1
      while (end < source.length && source[end] !== c && source[end] !== '\n') end += source[end] === '\\' ? 2 : 1
      blank(i + 1, end)
      i = end + 1
    } else if (c === '`') {
      i = template(i + 1)
    } else if (c === '/' && startsRegExp(out, i)) {
      const end = endOfRegExp(source, i)
      blank(i + 1, end - 1)
      i = end
    } else {
      if (c === '{' && templates.length > 0) templates[templates.length - 1]!++
      if (c === '}' && templates.length > 0 && templates[templates.length - 1]!-- === 0) {
        templates.pop()
        i = template(i + 1)
      } else i++
    }
  }
  return out.join('')
}

/** A slash divides after a value and begins a regular expression after anything else. */
function startsRegExp(masked: string[], at: number): boolean {
  const before = masked
    .slice(Math.max(0, at - 200), at)
    .join('')
    .trimEnd()
  return !/[\w$)\]}'"`]$/.test(before) || /\b(return|typeof|case|in|of|yield|await|throw|else|do)$/.test(before)
}

function endOfRegExp(source: string, at: number): number {
  let inClass = false
  let i = at + 1
  while (i < source.length && source[i] !== '\n' && (inClass || source[i] !== '/')) {
    if (source[i] === '\\') i++
    else if (source[i] === '[') inClass = true
    else if (source[i] === ']') inClass = false
    i++
  }
  return i + 1
}

export function lineAt(source: string, position: number): number {
  return source.slice(0, position).split('\n').length
}

const STATIC = /\b(?:import|export)\b(\s+type\b(?!\s*(?:,|from\b)))?\s*(?:[\w$*{},\s]*?\bfrom\s*)?(?=['"])/g
const CALL = /\b(?:import|require|import\.meta\.resolve)\s*\(\s*(?=['"`])/g

/** Every module that a source names: static, side-effect, re-exporting, dynamic and `require`. */
export function importsOf(source: string): Import[] {
  const masked = maskSource(source)
  return [STATIC, CALL]
    .flatMap((pattern) => [...masked.matchAll(pattern)])
    .map((match) => {
      const quoteAt = match.index + match[0].length
      const end = masked.indexOf(masked[quoteAt]!, quoteAt + 1)
      return {
        specifier: source.slice(quoteAt + 1, end),
        line: lineAt(source, quoteAt),
        typeOnly: match[1] !== undefined,
      }
    })
    .sort((a, b) => a.line - b.line)
}
