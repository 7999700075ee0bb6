import { expect, test } from 'vitest'
import { choose, LANGUAGES, load } from '../../src/ui/messages'
import { plurals } from '../../src/ui/messages/plurals'

type Tree = string | ((...args: never[]) => string) | readonly Tree[] | { readonly [key: string]: Tree }

/** Each text with the way to it. */
function* leaves(tree: Tree, way = ''): Generator<[string, string | ((...args: never[]) => string)]> {
  if (typeof tree === 'string' || typeof tree === 'function') yield [way, tree]
  else for (const [key, value] of Object.entries(tree)) yield* leaves(value as Tree, `${way}.${key}`)
}

test('every language says everything, with all that it is given', async () => {
  const english = new Map(leaves((await load('en')) as unknown as Tree))
  for (const { tag } of LANGUAGES) {
    const texts = new Map(leaves((await load(tag)) as unknown as Tree))
    expect([...texts.keys()], tag).toEqual([...english.keys()])
    for (const [way, text] of texts) {
      const said = String(typeof text === 'string' ? text : (text as (...args: unknown[]) => string)(...stand(text.length)))
      expect(said.trim(), `${tag}${way}`).not.toBe('')
      expect(said, `${tag}${way}`).not.toMatch(/undefined|NaN|#/)
      // Names and dates must not get lost on the way: what one language shows, the others show.
      if (typeof text === 'function') expect(text.length, `${tag}${way}`).toBe((english.get(way) as { length: number }).length)
    }
  }
})

/** What stands for names and counts alike. */
const stand = (count: number) => Array.from({ length: count }, (_, index) => index + 3)

test('what is said of a count follows the language', () => {
  const english = plurals('en')
  expect(english(1, { one: '# use', other: '# uses' })).toBe('1 use')
  expect(english(1_200, { one: '# use', other: '# uses' })).toBe('1,200 uses')
  expect(english(0, { zero: 'not used', other: '# uses' })).toBe('not used')
  expect(plurals('ja')(1, { other: '#回' })).toBe('1回')
})

test('a browser gets the first of its languages that there is', () => {
  const check = (wanted: string[], expected: string) => expect(choose(wanted)).toBe(expected)
  check(['zh-CN', 'en'], 'zh-Hans')
  check(['fr', 'ja-JP'], 'ja')
  check(['en-GB'], 'en')
  check(['de'], 'en')
  check([], 'en')
})
