/** A piece of HTML that is safe to show: made by {@link markup} alone, so that no text becomes one by accident. */
export class Html {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }
}

type Part = Html | string | number | undefined | readonly Part[]

/**
 * HTML with every value in it escaped, for the text of an element or a quoted attribute. Names of tables, messages of
 * servers and all else from outside may hold anything; only what this function has made goes in as it is.
 */
export function markup(texts: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(texts.map((text, index) => text + (index < parts.length ? render(parts[index]) : '')).join(''))
}

function render(part: Part): string {
  if (part === undefined) return ''
  if (part instanceof Html) return part.toString()
  if (Array.isArray(part)) return part.map(render).join('')
  return escape(String(part))
}

/** https://html.spec.whatwg.org/multipage/parsing.html: what may begin a tag, an entity, or end an attribute. */
const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}
