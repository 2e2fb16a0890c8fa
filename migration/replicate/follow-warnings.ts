import type { DatabaseContext } from '../context.ts'
import { errorText, type MigrationError } from '../errors.ts'
import type { MissedRows } from './apply/target-transaction.ts'
import type { UnfollowedTables } from './unfollowed-tables.ts'

/** Tables in one warning each; the rest of them share one. The status document stays small. */
const NAMED = 20

const WHAT_TO_DO =
  'It is copied and followed as soon as that can be done; if the target has a table of that name, drop it there. ' +
  'Cutover is refused until then: to go without it, drop it on the source, or cancel and migrate this database anew ' +
  '(excludeTables).'

/** Tells the user of what is not as it should be: once for each table in the whole migration, not once a slice. */
export class FollowWarnings {
  readonly #context: DatabaseContext
  readonly #told = new Set<string>()
  #storing: Promise<void> = Promise.resolve()

  constructor(context: DatabaseContext) {
    this.#context = context
  }

  ignored({ schema, name }: { schema: string; name: string }): void {
    this.#tell(
      'TableIgnored',
      `Changes of ${schema}.${name} are not applied: it was not copied by this migration.`,
      'It was made, renamed or excluded after the copy began.',
    )
  }

  missed({ plan, row }: MissedRows): void {
    this.#tell(
      'RowsMissed',
      `An UPDATE or DELETE of ${plan.schema}.${plan.table} found no row on the target: the two sides differ there.`,
      row === undefined ? '' : `The first one: ${row}.`,
    )
  }

  /** A change of a table's definition was brought to the target. */
  carried({ schema, name }: { schema: string; name: string }, steps: string[]): void {
    const message = `${schema}.${name} was changed on the source, and the target likewise: ${steps.join(', ')}.`
    this.#store(() => this.#context.event({ level: 'info', event: 'SchemaChangeCarried', message }), message)
  }

  /** A change of a table's definition that will stop replication with the next row of the table. */
  refused({ message, hint }: MigrationError): void {
    this.#tell('SchemaChanged', message, hint ?? '')
  }

  unfollowed({ added, dropped }: UnfollowedTables): void {
    for (const table of added.slice(0, NAMED)) {
      this.#tell(
        'TableNotFollowed',
        `${table} is not followed, and rows of it are missing on the target: it was made, made anew or renamed after the migration of this database began. ${WHAT_TO_DO}`,
        '',
      )
    }
    if (added.length > NAMED) {
      this.#tell(
        'TableNotFollowed',
        'More tables than are named here are not followed, since they were made after the migration of this database began.',
        'Compare the tables of the two sides.',
      )
    }
    for (const table of dropped.slice(0, NAMED)) {
      this.#tell(
        'TableDropped',
        `${table} is no longer on the source: it was dropped, renamed or moved to another schema. The target still has it.`,
        'Drop it there after the cutover if nobody needs it.',
      )
    }
    if (dropped.length > NAMED) {
      this.#tell(
        'TableDropped',
        'More tables than are named here are no longer on the source; the target still has them.',
        '',
      )
    }
  }

  /** Waits until all has been stored. */
  stored(): Promise<void> {
    return this.#storing
  }

  #tell(event: string, warning: string, detail: string): void {
    if (this.#told.has(warning)) return
    this.#told.add(warning)
    const context = this.#context
    this.#store(async () => {
      let isNew = false
      await context.status((status) => {
        isNew = !status.warnings.includes(warning)
        return isNew ? { ...status, warnings: [...status.warnings, warning] } : status
      })
      if (isNew) await context.event({ level: 'warning', event, message: `${warning} ${detail}`.trim() })
    }, warning)
  }

  /** Following does not wait for it, and goes on when it fails. */
  #store(work: () => Promise<void>, message: string): void {
    const { log, database } = this.#context
    this.#storing = this.#storing
      .then(work)
      .catch((error: unknown) => log.warn(message, { database, error: errorText(error) }))
  }
}
