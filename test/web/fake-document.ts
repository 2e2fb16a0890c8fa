/** As much of a document as the page uses; what it shows is read back as text. */
export class FakeElement extends EventTarget {
  textContent = ''
  hidden = false
  disabled = false
  title = ''
  href = ''
  value: string | number = ''
  returnValue = ''
  open = false
  dataset: Record<string, string> = {}
  children: (FakeElement | string)[] = []
  readonly tag: string

  constructor(tag: string) {
    super()
    this.tag = tag
  }

  append(...children: (FakeElement | string)[]): void {
    this.children.push(...children)
  }

  replaceChildren(...children: (FakeElement | string)[]): void {
    this.children = children
  }

  get outerHTML(): string {
    const inner = this.children.map((child) => (typeof child === 'string' ? child : child.outerHTML)).join('')
    return `<${this.tag} ${this.href}>${this.textContent}${inner}</${this.tag}>`
  }

  /** The texts of the leaves, in order. */
  texts(): string[] {
    const own = this.textContent === '' ? [] : [this.textContent]
    return [...own, ...this.children.flatMap((child) => (typeof child === 'string' ? [child] : child.texts()))]
  }

  showModal(): void {
    this.open = true
  }

  close(returnValue: string): void {
    this.open = false
    this.returnValue = returnValue
    this.dispatchEvent(new Event('close'))
  }

  click(): void {
    if (!this.disabled) this.dispatchEvent(new Event('click'))
  }
}

export function fakeDocument(): {
  hidden: boolean
  getElementById(id: string): FakeElement
  createElement(tag: string): FakeElement
} {
  const elements = new Map<string, FakeElement>()
  return {
    hidden: false,
    createElement: (tag) => new FakeElement(tag),
    getElementById(id) {
      const found = elements.get(id) ?? new FakeElement(id)
      elements.set(id, found)
      return found
    },
  }
}
