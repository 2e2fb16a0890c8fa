/** Numbers and times as the report writes them. */

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [count, 0]
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]!}`
}

export function number(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 })
}

/** A time of ISO 8601 UTC, to the second: the report is read in other time zones than it is made in. */
export function time(iso: string | undefined): string {
  return iso === undefined ? '' : `${iso.slice(0, 19).replace('T', ' ')} UTC`
}

/** Seconds between two times, as people say them. */
export function duration(from: string | undefined, to: string | undefined): string {
  if (from === undefined || to === undefined) return ''
  return seconds((Date.parse(to) - Date.parse(from)) / 1000)
}

export function seconds(value: number): string {
  if (value < 60) return `${value < 10 ? Number(value.toFixed(2)) : Math.round(value)} s`
  const whole = Math.round(value)
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60]
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`
}
