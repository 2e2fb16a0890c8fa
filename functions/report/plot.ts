import { markup, type Html } from './html.ts'
import { time } from './measure.ts'

/** A value at a time, ms since 1970. */
export interface Point {
  at: number
  value: number
}

/** In the units of the drawing, which is scaled to the page. */
const WIDTH = 760
const HEIGHT = 180
const LEFT = 80
const BOTTOM = 24
const TOP = 12
/** Points of a plot: more than one for each of its columns is not seen. */
const MOST_POINTS = WIDTH - LEFT

/** A line over time, drawn as SVG without scripts; undefined without points. */
export function plot(title: string, points: Point[], label: (value: number) => string): Html | undefined {
  const shown = greatest(points, MOST_POINTS)
  const [first, last] = [shown[0], shown.at(-1)]
  if (!first || !last) return undefined
  const top = shown.reduce((most, { value }) => Math.max(most, value), 0) || 1
  const span = Math.max(1, last.at - first.at)
  const x = (at: number): string => (LEFT + ((WIDTH - LEFT - 8) * (at - first.at)) / span).toFixed(1)
  const y = (value: number): string => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)).toFixed(1)
  const iso = (at: number): string => time(new Date(at).toISOString())
  const line = shown.map(({ at, value }) => `${x(at)},${y(value)}`).join(' ')
  return markup`<figure>
    <figcaption>${title}</figcaption>
    <svg
      viewBox="0 0 ${WIDTH} ${HEIGHT}"
      role="img"
      aria-label="${title}: ${label(last.value)} at the end, ${label(top)} at most"
    >
      <line class="axis" x1="${LEFT}" y1="${y(0)}" x2="${WIDTH}" y2="${y(0)}" />
      <line class="axis" x1="${LEFT}" y1="${y(top)}" x2="${WIDTH}" y2="${y(top)}" />
      <text x="${LEFT - 6}" y="${y(top)}" dy="4" text-anchor="end">${label(top)}</text>
      <text x="${LEFT - 6}" y="${y(0)}" dy="4" text-anchor="end">${label(0)}</text>
      <text x="${LEFT}" y="${HEIGHT - 6}">${iso(first.at)}</text>
      <text x="${WIDTH}" y="${HEIGHT - 6}" text-anchor="end">${iso(last.at)}</text>
      ${shown.length === 1 ? markup`<circle cx="${x(first.at)}" cy="${y(first.value)}" r="2.5" />` : markup`<polyline points="${line}" />`}
    </svg>
  </figure> `
}

/** As many points as are seen: of neighbours the greatest, which is what a plot is looked at for; first and last stay. */
export function greatest(points: Point[], most: number): Point[] {
  const step = Math.ceil(points.length / most)
  if (step <= 1) return points
  const kept: Point[] = []
  for (let from = 0; from < points.length; from += step) {
    const group = points.slice(from, from + step)
    kept.push(group.reduce((a, b) => (b.value > a.value ? b : a)))
  }
  return [...new Set([points[0]!, ...kept, points.at(-1)!])]
}
