import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

// WCAG 2.2: 1.4.3 for text, 1.4.11 for what has to be seen to be used.
const TEXT = 4.5
const CONTROL = 3

const TEXT_PAIRS = [
  ...['ink', 'ink-soft', 'accent', 'stop', 'warn', 'good'].flatMap((text) => ['paper', 'surface'].map((ground) => [text, ground])),
  ['ink', 'sunk'],
  ['ink-soft', 'sunk'],
  ['on-accent', 'accent'],
  ['on-stop', 'stop'],
  ['paper', 'ink'],
  ['accent', 'accent-soft'],
  ['ink', 'accent-soft'],
  ['good', 'good-soft'],
  ['warn', 'warn-soft'],
  ['stop', 'stop-soft'],
] as const
const CONTROL_PAIRS = [
  ['control', 'paper'],
  ['control', 'surface'],
  ['accent', 'paper'],
  ['accent', 'surface'],
  ['accent', 'sunk'],
] as const

const css = readFileSync(new URL('../../src/ui/tokens.css', import.meta.url), 'utf8')
const [light = '', dark = ''] = css.split('@media (prefers-color-scheme: dark)')

for (const [name, part] of [['light', light], ['dark', dark]] as const) {
  const colours = new Map(Array.from(part.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g), ([, token, value]) => [token, value]))
  const check = (pairs: readonly (readonly string[])[], least: number) => {
    for (const [front = '', back = ''] of pairs) {
      const ratio = contrast(colours.get(front), colours.get(back))
      expect(ratio, `${front} on ${back} in the ${name}`).toBeGreaterThanOrEqual(least)
    }
  }
  test(`text is read in the ${name}`, () => check(TEXT_PAIRS, TEXT))
  test(`controls are seen in the ${name}`, () => check(CONTROL_PAIRS, CONTROL))
}

function contrast(a: string | undefined, b: string | undefined): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

function luminance(colour: string | undefined): number {
  if (colour === undefined) throw new Error('no such colour')
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
