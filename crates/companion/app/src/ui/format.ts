import type { Messages } from './messages/en'

/** Dates, sums and names as one language and one time zone write them. */
export interface Format {
  readonly language: string
  /** 8 March 2013 */
  date(ms: number): string
  /** 17:05 */
  time(ms: number): string
  /** 8 March, 17:05; with the year if it is another than this one. */
  moment(ms: number): string
  /** 17:05:09 with the zone's name: for proofs. */
  exact(ms: number): string
  /** Today, Yesterday, or the date with its weekday. */
  day(ms: number): string
  /** The name of a month. */
  month(ms: number): string
  /** The local day, as a key: 2013-03-08. */
  dayKey(ms: number): string
  number(value: number | bigint): string
  /** A duration in its largest whole unit. */
  duration(seconds: number): string
  list(parts: readonly string[]): string
  /** A language's name in this one. */
  languageName(tag: string): string
  /** A minute of the day: 22:30. */
  minute(ofDay: number): string
  zone(): string
}

/** `now` is the clock of the device, in Unix milliseconds. */
export function formats(language: string, messages: Messages, now: () => number, timeZone?: string): Format {
  const zone = timeZone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone
  const of = (options: Intl.DateTimeFormatOptions) => {
    let made: Intl.DateTimeFormat | undefined
    return (ms: number) => (made ??= new Intl.DateTimeFormat(language, { timeZone: zone, ...options })).format(ms)
  }
  const date = of({ dateStyle: 'long' })
  const time = of({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  const thisYear = of({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  const otherYear = of({ year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  const exact = of({ dateStyle: 'medium', timeStyle: 'long' })
  const weekday = of({ weekday: 'long', month: 'long', day: 'numeric' })
  const weekdayOtherYear = of({ weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' })
  const month = of({ month: 'long' })
  const year = of({ year: 'numeric' })
  const key = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' })
  const number = new Intl.NumberFormat(language)
  const minute = new Intl.DateTimeFormat(language, { timeZone: 'UTC', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  const names = new Intl.DisplayNames(language, { type: 'language' })
  const list = new Intl.ListFormat(language, { type: 'conjunction' })
  const dayKey = (ms: number) => key.format(ms)
  return {
    language,
    date,
    time,
    moment: (ms) => (year(ms) === year(now()) ? thisYear : otherYear)(ms),
    exact,
    day(ms) {
      if (dayKey(ms) === dayKey(now())) return messages.app.today
      if (dayKey(ms) === dayKey(now() - 86_400_000)) return messages.app.yesterday
      return (year(ms) === year(now()) ? weekday : weekdayOtherYear)(ms)
    },
    month,
    dayKey,
    number: (value) => number.format(value),
    duration(seconds) {
      const say = messages.duration
      if (seconds <= 0) return say.none
      if (seconds % 86_400 === 0 && seconds >= 2 * 86_400) return say.days(seconds / 86_400)
      if (seconds % 3_600 === 0) return say.hours(seconds / 3_600)
      if (seconds % 60 === 0) return say.minutes(seconds / 60)
      return say.seconds(seconds)
    },
    list: (parts) => list.format(parts),
    languageName: (tag) => names.of(tag) ?? tag,
    minute: (ofDay) => minute.format(ofDay * 60_000),
    zone: () => zone,
  }
}
