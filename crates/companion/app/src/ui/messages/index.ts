import type { Messages } from './en'

export type { Messages } from './en'

/** The languages that the app speaks, each by its own name. */
export const LANGUAGES = [
  { tag: 'en', name: 'English' },
  { tag: 'zh-Hans', name: '简体中文' },
  { tag: 'ja', name: '日本語' },
] as const

export type Language = (typeof LANGUAGES)[number]['tag']

/** The language of ours that comes first among those that a person reads; English if none does. */
export function choose(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const base = tag.toLowerCase().split('-')[0]
    const found = LANGUAGES.find((language) => language.tag.toLowerCase().split('-')[0] === base)
    if (found) return found.tag
  }
  return 'en'
}

/** A language's texts. Only the one that is read is ever loaded. */
export async function load(language: Language): Promise<Messages> {
  switch (language) {
    case 'en':
      return (await import('./en')).en
    case 'zh-Hans':
      return (await import('./zh-Hans')).messages
    case 'ja':
      return (await import('./ja')).messages
  }
}
