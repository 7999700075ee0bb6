import { choose, LANGUAGES, type Language } from './messages'

/** The parts of the home screen that a person puts in order. */
export const PARTS = ['requests', 'sharing', 'benefits'] as const
export type HomePart = (typeof PARTS)[number]

/** How one device shows things. Nothing of it is about anybody, and none of it leaves the device. */
export interface Preferences {
  language: Language
  /** 1 to 4: as the browser has it, up to twice that. */
  text: 1 | 2 | 3 | 4
  /** What comes first on the home screen. */
  first: HomePart
}

const KEY = 'countersign.look'

/** What was chosen before, or what fits this browser. */
export function read(): Preferences {
  const kept: Partial<Record<keyof Preferences, unknown>> = stored()
  return {
    language: LANGUAGES.find((language) => language.tag === kept.language)?.tag ?? choose(navigator.languages),
    text: ([1, 2, 3, 4] as const).find((size) => size === kept.text) ?? 1,
    first: PARTS.find((part) => part === kept.first) ?? 'requests',
  }
}

/** All parts, with this one first: a choice moves them, and hides none. */
export function inOrder(first: HomePart): readonly HomePart[] {
  return [first, ...PARTS.filter((part) => part !== first)]
}

/** Keeps a choice and draws the page by it. */
export function keep(preferences: Preferences): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences))
  } catch {
    // A browser that keeps nothing still shows what was chosen, until the page is closed.
  }
  apply(preferences)
}

export function apply({ language, text }: Preferences): void {
  document.documentElement.lang = language
  document.documentElement.dataset['text'] = String(text)
}

function stored(): object {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}')
    return typeof kept === 'object' && kept !== null ? kept : {}
  } catch {
    return {}
  }
}
