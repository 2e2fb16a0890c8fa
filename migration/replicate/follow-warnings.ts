import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { MissedRows } from './apply/target-transaction.ts'

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

  /** Waits until all has been stored. */
  stored(): Promise<void> {
    return this.#storing
  }

  #tell(event: string, warning: string, detail: string): void {
    if (this.#told.has(warning)) return
    this.#told.add(warning)
    const context = this.#context
    this.#storing = this.#storing.then(async () => {
      try {
        let isNew = false
        await context.status((status) => {
          isNew = !status.warnings.includes(warning)
          return isNew ? { ...status, warnings: [...status.warnings, warning] } : status
        })
        if (isNew) await context.event({ level: 'warning', event, message: `${warning} ${detail}`.trim() })
      } catch (error) {
        context.log.warn(warning, { database: context.database, error: errorText(error) })
      }
    })
  }
}
