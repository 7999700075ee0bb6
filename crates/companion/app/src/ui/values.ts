import type { Format } from './format'
import type { Messages } from './messages'

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/

/** A value as a person reads it: a moment in the person's own time zone, a word of the catalogue's in the person's language, anything else as it came. */
export function valueText(value: string, format: Format, { values }: Messages): string {
  const words: Readonly<Record<string, string>> = values
  const word = Object.hasOwn(words, value) ? words[value] : undefined
  if (word !== undefined) return word
  if (!INSTANT.test(value)) return value
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? value : format.moment(ms)
}
