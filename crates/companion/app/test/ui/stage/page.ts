import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium, type Browser, type Page } from 'playwright-core'
import type { Shown } from './scenes.ts'

export const launch = (): Promise<Browser> => chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox'] })

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Goes to a scene as if for the first time, and presses what it says. */
export async function show(page: Page, hall: string, name: string, { at, press = [] }: Shown): Promise<void> {
  // Another scene is another address. For the same one, a page of its own first: a fragment alone is no visit.
  if (new URL(page.url()).search === `?${name}`) await page.goto('about:blank')
  await page.goto(`${hall}/?${name}${at}`)
  await page.locator('h1').first().waitFor()
  await page.waitForFunction(() => document.querySelector('.waiting') === null || document.querySelector('.entry') !== null)
  for (const selector of press) {
    await page.locator(selector).first().click()
    await page.waitForTimeout(100)
  }
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
}

/** What axe finds. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    const { violations } = await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node.html.slice(0, 140)}`))
  })
}

/** What is too small to touch: less than 44 pixels either way, but for links within a sentence. */
export const small = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll('button, summary, input, select, textarea, a:not(p a, li > p a)')]
      .filter((target) => target.checkVisibility() && !target.matches('.skip, [type=checkbox], [type=radio]'))
      .map((target) => ({ target, box: target.getBoundingClientRect() }))
      .filter(({ box }) => box.width < 44 || box.height < 44)
      .map(({ target, box }) => `small ${box.width.toFixed()}×${box.height.toFixed()} ${target.outerHTML.slice(0, 100)}`),
  )

/** What is wider than the page, or cut off within it. */
export const wide = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const found = document.documentElement.scrollWidth > innerWidth ? [`wide: ${document.documentElement.scrollWidth} of ${innerWidth}`] : []
    for (const part of document.querySelectorAll('main *, dialog *, nav *')) {
      if (!(part instanceof HTMLElement) || !part.checkVisibility() || part.closest('.unseen')) continue
      const box = part.getBoundingClientRect()
      if (box.right > innerWidth + 1 || box.left < -1) found.push(`outside: ${box.left.toFixed()}…${box.right.toFixed()} ${part.outerHTML.slice(0, 90)}`)
    }
    return found.slice(0, 4)
  })
