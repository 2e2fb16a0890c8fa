import type { Relation } from '../pgoutput-message.ts'
import type { SchemaStep } from './schema-step.ts'
import type { SourceAttribute, SourceDefinition } from './source-definition.ts'
import type { ShapeColumn, TableShape } from './table-shape.ts'
import type { DefinedColumn, TargetDefinition } from './target-definition.ts'
import { widening } from './widened-type.ts'

export interface ChangeInput {
  /** The table at its place in the stream: what counts. */
  relation: Pick<Relation, 'oid' | 'columns'>
  /** Types of the relation's columns as SQL. */
  types: readonly string[]
  target: TargetDefinition
  /** The source's catalog, read later; undefined when it no longer has the table. */
  source: SourceDefinition | undefined
  /** The transaction that the relation was sent for; undefined when the catalog is known to be of this very place. */
  xid: number | undefined
}

/** Why a change can't be carried over: unwinds the decision. */
export class Refusal extends Error {
  readonly mendable: boolean

  constructor(message: string, mendable = true) {
    super(message)
    this.mendable = mendable
  }
}

/** The decision on one change, with what it finds out on its way. */
export class TableChange {
  readonly input: Required<Omit<ChangeInput, 'xid' | 'source'>> & {
    xid: number | undefined
    source: SourceDefinition
    shape: TableShape
  }
  /** Which attribute each column of the relation is. */
  readonly attnums = new Map<string, number>()
  readonly added = new Set<string>()
  readonly #known: Map<string, ShapeColumn>
  readonly #byNumber: Map<number, SourceAttribute>
  readonly #byName: Map<string, SourceAttribute>

  constructor(input: TableChange['input']) {
    this.input = input
    this.#known = new Map(input.shape.columns.map((column) => [column.name, column]))
    this.#byNumber = new Map(input.source.attributes.map((attribute) => [attribute.attnum, attribute]))
    this.#byName = new Map(
      input.source.attributes.filter(({ dropped }) => !dropped).map((attribute) => [attribute.name, attribute]),
    )
  }

  /** @throws {Refusal} */
  steps(own: DefinedColumn[]): SchemaStep[] {
    const { relation } = this.input
    const there = new Set(own.map(({ name }) => name))
    const common = relation.columns.filter(({ name }) => there.has(name))
    for (const { name } of common) this.attnums.set(name, this.#stays(name))
    const names = new Set(relation.columns.map(({ name }) => name))
    const fresh = relation.columns.filter(({ name }) => !there.has(name)).map(({ name }) => name)
    const gone = own.filter(({ name }) => !names.has(name))
    const renamed = this.#renames(gone, fresh)
    const drops = gone.filter(({ name }) => !renamed.has(name)).map((column) => this.#drop(column, fresh))
    const targets = new Set(renamed.values())
    const adds = this.#adds(fresh.filter((name) => !targets.has(name)))
    this.#checkOrder()
    const byName = new Map(own.map((column) => [column.name, column]))
    const renames = [...renamed].map(([column, to]): SchemaStep => ({
      kind: 'rename',
      column,
      to,
      atRoot: this.#atRoot(byName.get(column)!, to, column),
    }))
    const retypes = this.#retypes([
      ...common.map(({ name }): [string, DefinedColumn] => [name, byName.get(name)!]),
      ...[...renamed].map(([from, to]): [string, DefinedColumn] => [to, byName.get(from)!]),
    ])
    return [...drops, ...renames, ...retypes, ...adds]
  }

  /** A column that the target has under this name. */
  #stays(name: string): number {
    const known = this.#known.get(name)
    const now = this.#byName.get(name)
    if (!known) {
      // Made on the target by somebody else, as the way out of a change that was refused, or together with a parent.
      if (!now)
        throw new Refusal(
          `which column of the source "${name}" is can't be told: it was dropped or renamed since`,
          false,
        )
      return now.attnum
    }
    if (now && now.attnum !== known.attnum) {
      throw new Refusal(
        `another column of the source is called "${name}" now, and from which change on can't be told`,
        false,
      )
    }
    return known.attnum
  }

  /** Columns that are gone by name and live on by number: certainly the same ones. */
  #renames(gone: DefinedColumn[], fresh: string[]): Map<string, string> {
    const renamed = new Map<string, string>()
    const unexplained = fresh.filter((name) => !this.#byName.has(name))
    const lost: string[] = []
    for (const { name } of gone) {
      const known = this.#known.get(name)
      if (!known) throw new Refusal(`which column of the source "${name}" was can't be told`)
      const now = this.#byNumber.get(known.attnum)
      if (!now || now.dropped) continue
      if (fresh.includes(now.name)) renamed.set(name, now.name)
      else lost.push(name)
    }
    // Renamed again since: it is in the relation under some name, and only one is left.
    if (lost.length === 1 && unexplained.length === 1) renamed.set(lost[0]!, unexplained[0]!)
    else if (lost.length > 0) throw new Refusal(`what "${lost.join('", "')}" was renamed to can't be told`)
    for (const [name, to] of renamed) this.attnums.set(to, this.#known.get(name)!.attnum)
    return renamed
  }

  #drop(column: DefinedColumn, fresh: string[]): SchemaStep {
    const known = this.#known.get(column.name)!
    const attribute = this.#byNumber.get(known.attnum)!
    for (const name of fresh) {
      if (this.attnums.has(name)) continue
      const { typeOid } = this.input.relation.columns.find((sent) => sent.name === name)!
      if (typeOid !== known.typeOid) continue
      // It may be this column under another name, before it was dropped; not if it was dropped before or in this transaction.
      if (!this.#byName.has(name) || this.#age(attribute) > 0) {
        throw new Refusal(`whether "${column.name}" was dropped or renamed to "${name}" can't be told`)
      }
    }
    return { kind: 'drop', column: column.name, atRoot: this.#atRoot(column, undefined, column.name) }
  }

  /**
   * Numbers are given in the order of time. So the columns that are new in the relation are the first ones of those
   * that were added since, apart from those that had been dropped again before.
   */
  #adds(fresh: string[]): SchemaStep[] {
    const { shape, source } = this.input
    const taken = new Set([...shape.columns.map(({ attnum }) => attnum), ...this.attnums.values()])
    const since = source.attributes.filter(
      ({ attnum, generated }) => generated === '' && attnum > shape.attributes && !taken.has(attnum),
    )
    const there = since.filter((attribute) => !attribute.dropped || this.#age(attribute) >= 0)
    return fresh.map((name, i) => {
      const attribute = there[i]
      const named = there.find((other) => !other.dropped && other.name === name)
      const surely = attribute && (attribute.dropped || attribute.name === name || there.length === since.length)
      if (!surely || (named && named !== attribute)) {
        throw new Refusal(`which column "${name}" is can't be told: others were added and dropped since`)
      }
      this.attnums.set(name, attribute.attnum)
      this.added.add(name)
      return this.#add(name, attribute)
    })
  }

  #add(name: string, attribute: SourceAttribute): SchemaStep {
    const { shape, source, relation, types, target } = this.input
    const position = relation.columns.findIndex((column) => column.name === name)
    const sent = relation.columns[position]!
    const add = {
      kind: 'add' as const,
      column: name,
      type: types[position]!,
      collation: attribute.collation,
      atRoot: attribute.inherited && target.root !== undefined,
    }
    // It is gone again on the source: what it held no longer matters, only that the changes until then find it.
    if (attribute.dropped) return { ...add, missing: undefined }
    if (attribute.typeOid !== sent.typeOid || attribute.typeModifier !== sent.typeModifier) {
      throw new Refusal(`column "${name}" was added, and its type has been changed since`)
    }
    if (attribute.missing !== undefined) return { ...add, missing: attribute.missing }
    if (source.filenode === shape.filenode) return { ...add, missing: undefined }
    throw new Refusal(
      `column "${name}" was added, and the rows of the table were written anew since: each may have its own value of it`,
    )
  }

  /**
   * Whether a column was dropped before the transaction that we read (negative), in it (0), or after it. DDL waits for
   * those that have written to the table, so that one with an earlier number came before, unless it was long open and
   * came to this table late.
   */
  #age({ xid: dropped }: SourceAttribute): number {
    const { xid } = this.input
    // Transaction ids are 32 bits and go round.
    return xid === undefined ? -1 : (dropped - xid) | 0
  }

  #retypes(columns: [string, DefinedColumn][]): SchemaStep[] {
    const { relation, shape, source, types } = this.input
    const retyped = columns.flatMap(([name, column]) => {
      const position = relation.columns.findIndex((sent) => sent.name === name)
      const { typeOid, typeModifier } = relation.columns[position]!
      const known = shape.columns.find(({ attnum }) => attnum === this.attnums.get(name))
      const type = types[position]!
      const same = known === undefined || (known.typeOid === typeOid && known.typeModifier === typeModifier)
      return same || column.type === type ? [] : [{ name, column, type, wider: widening(column.type, type) }]
    })
    // A widening that leaves the rows as they are does not explain that they were written anew.
    const explained = source.filenode === shape.filenode || retyped.some(({ wider }) => wider?.rewrites)
    return retyped.map(({ name, column, type, wider }) => {
      if (!wider || !explained) {
        const anew = wider ? ', and the rows were written anew since: perhaps with other values' : ''
        throw new Refusal(`the type of column "${name}" was changed from ${column.type} to ${type}${anew}`)
      }
      return { kind: 'retype', column: name, type, atRoot: this.#atRoot(column, name, undefined) }
    })
  }

  /** What is inherited is changed at the parent, if the parent has changed in the same way. */
  #atRoot(column: DefinedColumn, has: string | undefined, hasNot: string | undefined): boolean {
    if (!column.inherited) {
      if (this.input.target.hasChildren && has === undefined) {
        throw new Refusal(`column "${column.name}" of a table with children was dropped`)
      }
      return false
    }
    const parents = this.input.source.parentColumns
    const followed =
      parents !== null &&
      (has === undefined || Object.hasOwn(parents, has)) &&
      (hasNot === undefined || !Object.hasOwn(parents, hasNot))
    if (!followed || !this.input.target.root) {
      throw new Refusal(`column "${column.name}" is inherited on the target, and no longer on the source`)
    }
    return true
  }

  /** Columns are sent in the order of their numbers: names that have changed places show in it. */
  #checkOrder(): void {
    const order = this.input.relation.columns.map(({ name }) => this.attnums.get(name)!)
    if (order.some((attnum, i) => i > 0 && attnum <= order[i - 1]!)) {
      throw new Refusal('columns have changed their names with each other', false)
    }
  }
}
