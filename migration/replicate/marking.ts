import type { Connection } from '../connect.ts'
import type { Lease } from '../control/lease.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { ChangeMarks } from './apply/change-marks.ts'
import type { MarkedTable } from './apply/table-marks.ts'
import { gatherMarks } from './gather-marks.ts'

/**
 * Which tables the stream marks changes of, as pgflex.compared_table says. A comparison waits until it is told the place
 * from which on all changes are marked: whoever applies has taken the table up before that, and whoever applies later
 * reads it at its start. So it does not matter in which process, or in which order, the two come and go.
 */
export class Marking {
  readonly marks = new ChangeMarks()
  readonly #catalog: Connection
  readonly #lease: Pick<Lease, 'name' | 'fence'>
  /** The last table that is known. */
  #last = 0
  /** Of what is marked it is not yet said since when. */
  #unsaid: number[] = []

  private constructor(catalog: Connection, lease: Pick<Lease, 'name' | 'fence'>) {
    this.#catalog = catalog
    this.#lease = lease
  }

  /**
   * @param catalog a session on the target that may be shared
   * @param lease under which changes are applied
   * @param tidy marks are to be put together, which takes some tenths of a second where there are many
   */
  static async open(
    catalog: Connection,
    lease: Pick<Lease, 'name' | 'fence'>,
    { tidy }: { tidy: boolean },
  ): Promise<Marking> {
    if (tidy) await gatherMarks(catalog)
    const marking = new Marking(catalog, lease)
    await marking.look()
    return marking
  }

  /** Takes up tables that are to be marked from now on. */
  async look(): Promise<void> {
    const { rows } = await this.#catalog.query<{
      id: string
      schema: string
      name: string
      marks: string
      said: 't' | 'f'
    }>(
      `select c.id, c.schema_name as schema, c.table_name as name, c.marked_from is not null as said,
              (select coalesce(sum(k.marks), 0) from pgflex.change_mark k where k.table_id = c.id) as marks
         from pgflex.compared_table c
         join pgflex.marked_table m using (id)
        where c.id > $1 and c.state <> 'unequal' and not m.whole
        order by c.id`,
      [this.#last],
    )
    if (rows.length === 0) return
    this.marks.add(
      rows.map(({ id, schema, name, marks }): MarkedTable => ({ id: Number(id), schema, name, marks: Number(marks) })),
    )
    this.#unsaid.push(...rows.filter(({ said }) => said === 'f').map(({ id }) => Number(id)))
    this.#last = Number(rows.at(-1)!.id)
  }

  /**
   * Says since when they are marked, in one statement with the check of the fence: whoever takes the lease over after it
   * sees these tables.
   *
   * @param lsn of the source, taken after {@link look}
   */
  async say(lsn: Lsn): Promise<void> {
    if (this.#unsaid.length === 0) return
    const tables = this.#unsaid
    this.#unsaid = []
    await this.#catalog.query(
      `with held as (select from pgflex.lease where name = $1 and fence = $2 for key share)
       update pgflex.compared_table set marked_from = $4
        where id = any ($3::int[]) and marked_from is null and exists (select from held)`,
      [this.#lease.name, this.#lease.fence, tables, formatLsn(lsn)],
    )
  }
}
