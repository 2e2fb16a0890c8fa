import { markup, type Html } from './html.ts'

type Cell = Html | string | number | undefined

/** A table; nothing but the sentence when there is nothing in it. */
export function table(columns: readonly string[], rows: readonly (readonly Cell[])[], none: string): Html {
  if (rows.length === 0) return markup`<p>${none}</p>`
  return markup`<div class="wide"><table>
<thead><tr>${columns.map((name) => markup`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => markup`<tr>${row.map((cell) => markup`<td>${cell}</td>`)}</tr>\n`)}</tbody>
</table></div>
`
}

/** A section of the report with its title. */
export function section(title: string, ...content: (Html | undefined)[]): Html {
  return markup`<section><h2>${title}</h2>
${content.filter((one) => one !== undefined)}</section>
`
}
