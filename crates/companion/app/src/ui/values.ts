import type { Format } from './format'

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/

/** A value as a person reads it: a moment in the person's own time zone, anything else as it came. */
export function valueText(value: string, format: Format): string {
  if (!INSTANT.test(value)) return value
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? value : format.moment(ms)
}
