/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import type { DatabaseDetail, ErrorBody, Migration, MigrationList } from '../migration/model/migration-resource.ts'

/** ms; often enough to watch a cutover, and an unchanged answer costs a 304. */
const POLL_MS = 2_000
const API = 'api-version=2025-08-01'
/** The server whose migrations are shown, as a path of its own in the query (`?server=/subscriptions/…`), or the local one. */
const LOCAL_SERVER =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.DBforPostgreSQL/flexibleServers/local'
const asked = new URLSearchParams(location.search).get('server') ?? ''
// A path and nothing else: the key goes to this host only.
const SERVER = asked.startsWith('/subscriptions/') ? asked : LOCAL_SERVER

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T

// The key arrives in the fragment, which browsers don't send; it leaves the address bar at once.
const fragment = new URLSearchParams(location.hash.slice(1))
const arrived = fragment.get('key')
if (arrived !== null) {
  sessionStorage.setItem('key', arrived)
  fragment.delete('key')
  history.replaceState(null, '', `${location.pathname}${location.search}${fragment.size > 0 ? `#${fragment}` : ''}`)
}
let selected = fragment.get('migration')

async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(`${path}${path.includes('?') ? '&' : '?'}${API}`, {
    ...init,
    headers: { 'x-functions-key': sessionStorage.getItem('key') ?? '', 'content-type': 'application/json' },
  })
  if (response.status === 401) {
    element('sign-in').hidden = false
    throw new Error('The key is missing or wrong.')
  }
  if (response.ok) return response
  const body = (await response.json()) as Partial<ErrorBody>
  throw new Error(body.error?.message ?? `HTTP ${response.status}`)
}

async function request<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await send(path, init)).json()) as T
}

function cell(text: string | HTMLElement): HTMLTableCellElement {
  const td = document.createElement('td')
  td.append(text)
  return td
}

/** Replaces the rows only when something has changed, so that focus and selection stay. */
function fill(body: HTMLElement, rows: (string | HTMLElement)[][]): void {
  const made = rows.map((row) => {
    const tr = document.createElement('tr')
    tr.append(...row.map(cell))
    return tr
  })
  const text = made.map((tr) => tr.outerHTML).join('')
  if (body.dataset['shown'] === text) return
  body.dataset['shown'] = text
  body.replaceChildren(...made)
}

function link({ name, id }: Migration): HTMLElement {
  const a = document.createElement('a')
  a.href = `#${new URLSearchParams({ migration: id })}`
  a.textContent = name
  return a
}

const when = (time: string): string => new Date(time).toLocaleString()
const bytes = (n: number): string =>
  n < 1e6 ? `${Math.ceil(n / 1e3)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`
const seconds = (n: number | undefined): string => (n === undefined ? '–' : `${n.toFixed(n < 10 ? 1 : 0)} s`)

function databaseRow(database: DatabaseDetail): string[] {
  const { pgflex } = database
  const tables =
    database.fullLoadQueuedTables +
    database.fullLoadLoadingTables +
    database.fullLoadCompletedTables +
    database.fullLoadErroredTables
  return [
    database.databaseName,
    database.migrationState,
    pgflex.phase,
    `${database.fullLoadCompletedTables} / ${tables}`,
    `${bytes(pgflex.progress.bytesDone)} / ${bytes(pgflex.progress.bytesTotal)}`,
    database.appliedChanges.toLocaleString(),
    seconds(pgflex.latencySeconds),
    database.message ?? '',
  ]
}

/** What must hold before cutover, and whether it does. */
function readinessRows({ databaseName, pgflex }: DatabaseDetail): string[][] {
  return (pgflex.readiness ?? []).map(({ check, ok, message }) => [databaseName, check, ok ? 'yes' : 'no', message])
}

/** What the cutover waits for, for somebody who sees its button disabled. */
function reason({ properties }: Migration): string {
  const { pgflex, currentSubStateDetails } = properties.currentStatus
  if (pgflex.actions.includes('cutover')) return ''
  const limit = properties.pgflex.maxLatencySecondsForCutover
  if (pgflex.latencySeconds !== undefined && pgflex.latencySeconds > limit) return `The latency is above ${limit} s.`
  return properties.migrationMode === 'Offline'
    ? 'An Offline migration cuts over by itself.'
    : `Not now: ${currentSubStateDetails.currentSubState}.`
}

let shown: Migration | undefined

function show(migration: Migration): void {
  shown = migration
  const { currentStatus, migrationMode } = migration.properties
  const { pgflex, currentSubStateDetails, state, error } = currentStatus
  element('details').hidden = false
  element('details-title').textContent = `${migration.name} (${migrationMode})`
  const line = `${state} – ${currentSubStateDetails.currentSubState}`
  if (element('state').textContent !== line) element('state').textContent = line
  element('error').textContent = error ?? ''
  element('error').hidden = error === undefined
  const back = pgflex.fallback
  element('way-back').hidden = back === undefined
  element('way-back').textContent = back
    ? `Way back: ${back.state}, latency ${seconds(back.latencySeconds)}. ${back.message ?? ''}`
    : ''
  const { bytesDone, bytesTotal } = pgflex.progress
  element<HTMLProgressElement>('progress').value = bytesTotal === 0 ? 0 : (100 * bytesDone) / bytesTotal
  const cutover = element<HTMLButtonElement>('cutover')
  cutover.disabled = !pgflex.actions.includes('cutover')
  cutover.title = reason(migration)
  element<HTMLButtonElement>('cancel').disabled = !pgflex.actions.includes('cancel')
  fill(element('databases'), Object.values(currentSubStateDetails.dbDetails).map(databaseRow))
  fill(element('readiness'), Object.values(currentSubStateDetails.dbDetails).flatMap(readinessRows))
  element('warnings').replaceChildren(
    ...pgflex.warnings.map((warning) => Object.assign(document.createElement('li'), { textContent: warning })),
  )
}

function ask(question: string): Promise<boolean> {
  const dialog = element<HTMLDialogElement>('confirm')
  element('question').textContent = question
  dialog.returnValue = 'no'
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
  })
}

async function command(properties: Record<string, unknown>, question: string): Promise<void> {
  const migration = shown
  if (!migration || !(await ask(question))) return
  await guarded('refused', async () => {
    show(await request<Migration>(migration.id, { method: 'PATCH', body: JSON.stringify({ properties }) }))
  })
}

/** A tab cannot show it: a link carries no key, and a page made here is bound to the policy of this one. */
async function downloadReport({ id, name }: Migration): Promise<void> {
  const report = await (await send(`${id}/report?format=html`)).blob()
  const a = document.createElement('a')
  a.href = URL.createObjectURL(report)
  a.download = `${name}-report.html`
  a.click()
  URL.revokeObjectURL(a.href)
}

async function refresh(): Promise<void> {
  const { value } = await request<MigrationList>(`${SERVER}/migrations?migrationListFilter=All`)
  element('sign-in').hidden = true
  fill(
    element('migrations'),
    value.toReversed().map((migration) => {
      const { currentStatus, migrationMode, migrationWindowStartTimeInUtc } = migration.properties
      const { state, currentSubStateDetails } = currentStatus
      return [
        link(migration),
        migrationMode,
        state,
        currentSubStateDetails.currentSubState,
        when(migrationWindowStartTimeInUtc),
      ]
    }),
  )
  const migration = value.find(({ id }) => id === selected) ?? value.at(-1)
  if (migration) show(migration)
}

async function guarded(place: 'problem' | 'refused', work: () => Promise<void>): Promise<void> {
  const problem = element(place)
  try {
    await work()
    problem.hidden = true
  } catch (error) {
    problem.textContent = error instanceof Error ? error.message : String(error)
    problem.hidden = false
  }
}

async function poll(): Promise<void> {
  if (!document.hidden) await guarded('problem', refresh)
  setTimeout(() => void poll(), POLL_MS)
}

element('cutover').addEventListener('click', () => {
  const name = shown?.name ?? ''
  void command(
    { triggerCutover: 'True' },
    `Cut over ${name} now? Writes on the source are stopped, and the target takes over.`,
  )
})
element('cancel').addEventListener('click', () => {
  void command({ cancel: 'True' }, `Cancel ${shown?.name ?? ''}? What is on the target so far stays there.`)
})
element('report').addEventListener('click', () => {
  const migration = shown
  if (migration) void guarded('refused', () => downloadReport(migration))
})
element('sign-in').addEventListener('submit', (event) => {
  event.preventDefault()
  sessionStorage.setItem('key', element<HTMLInputElement>('key').value)
  void guarded('problem', refresh)
})
addEventListener('hashchange', () => {
  selected = new URLSearchParams(location.hash.slice(1)).get('migration')
  void guarded('problem', refresh)
})
void poll()
