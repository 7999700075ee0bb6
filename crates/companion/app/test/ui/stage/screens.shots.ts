import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { NOW } from '../../fake-core.ts'
import { openHall } from './hall.ts'
import { SCENES, type Shown } from './scenes.ts'

// COUNTERSIGN_SHOTS: where the pictures go. COUNTERSIGN_SCENES, _LANGUAGES, _LOOKS: only these, by comma.
const FOLDER = process.env['COUNTERSIGN_SHOTS'] ?? new URL('../../../../../../target/companion-screenshots', import.meta.url).pathname
const only = (name: string, all: readonly string[]) => process.env[`COUNTERSIGN_${name}`]?.split(',') ?? all
const LANGUAGES = only('LANGUAGES', ['en', 'zh-Hans', 'ja'])
const SHOWN = only('SCENES', Object.keys(SCENES))
const LOOKS = only('LOOKS', ['phone-light', 'phone-dark', 'desk-light', 'desk-dark'])
const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } } as const

/** A picture's height at most, in pixels: a timeline has no end. */
const HIGHEST = 6_000

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let hall: Awaited<ReturnType<typeof openHall>>
let browser: Browser
beforeAll(async () => {
  hall = await openHall()
  browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
})
afterAll(async () => {
  await browser?.close()
  await hall?.close()
})

for (const look of LOOKS) {
  const [size, scheme] = look.split('-') as ['phone' | 'desk', 'light' | 'dark']
  for (const language of LANGUAGES) {
    test(`${look} in ${language}: every screen is drawn, and axe finds nothing`, async () => {
      const folder = join(FOLDER, look, language)
      mkdirSync(folder, { recursive: true })
      const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, locale: language === 'zh-Hans' ? 'zh-CN' : language, timezoneId: 'America/New_York', reducedMotion: 'reduce' })
      const page = await context.newPage()
      await page.clock.setFixedTime(NOW)
      const wrong: string[] = []
      page.on('pageerror', (error) => wrong.push(`${page.url()}: ${error.message}`))
      page.on('console', (message) => message.type() === 'error' && wrong.push(`${page.url()}: ${message.text()}`))
      for (const name of SHOWN) {
        await show(page, name, SCENES[name] as Shown)
        await picture(page, join(folder, `${name}.png`), SIZES[size])
        wrong.push(...(await findings(page)).map((finding) => `${name}: ${finding}`))
      }
      await context.close()
      expect(wrong).toEqual([])
    })
  }
}

test('a timeline of 10,000 entries scrolls, and holds few of them at once', async () => {
  const page = await browser.newPage({ viewport: SIZES.phone })
  await page.goto(`${hall.address}/?timeline-long#/activity`)
  await page.locator('.entry').first().waitFor()
  const started = Date.now()
  let entries = 0
  for (let turn = 0; turn < 400 && entries < 10_000; turn++) {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight))
    await page.waitForTimeout(20)
    entries = Number((await page.locator('[role=status].tiny').first().textContent())?.replace(/\D/g, ''))
  }
  expect(entries).toBeGreaterThanOrEqual(10_000)
  const drawn = await page.locator('.entry').count()
  console.log(`10,000 entries read and scrolled in ${Date.now() - started} ms; ${drawn} drawn at the end`)
  expect(drawn).toBeLessThan(400)
  await page.close()
})

async function show(page: Page, name: string, { at, press = [] }: Shown): Promise<void> {
  await page.goto(`${hall.address}/?${name}`)
  await page.goto('about:blank')
  await page.goto(`${hall.address}/?${name}${at}`)
  await page.locator('h1').first().waitFor()
  await page.waitForFunction(() => document.querySelector('.waiting') === null || document.querySelector('.entry') !== null)
  for (const selector of press) {
    await page.locator(selector).first().click()
    await page.waitForTimeout(120)
  }
  await page.waitForTimeout(60)
}

/** The whole page in one picture, with what is fixed at its foot at the foot; a sheet as it lies over the screen. */
async function picture(page: Page, path: string, size: { width: number; height: number }): Promise<void> {
  const sheet = (await page.locator('dialog').count()) > 0
  const height = sheet ? size.height : await page.evaluate(() => document.documentElement.scrollHeight)
  await page.setViewportSize({ width: size.width, height: Math.min(Math.max(height, size.height), HIGHEST) })
  await page.screenshot({ path })
  await page.setViewportSize(size)
}

/** What axe finds, what is too small to touch, and what is wider than the page. */
async function findings(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    const { violations } = await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node.html.slice(0, 140)}`))
    for (const target of document.querySelectorAll('button, summary, input, select, textarea, a:not(p a, li > p a)')) {
      const box = target.getBoundingClientRect()
      if (target.checkVisibility() && !target.matches('.skip, [type=checkbox]') && (box.width < 44 || box.height < 44)) found.push(`small ${box.width.toFixed()}×${box.height.toFixed()} ${target.outerHTML.slice(0, 100)}`)
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push(`wide: ${document.documentElement.scrollWidth} of ${innerWidth}`)
    return found
  })
}
