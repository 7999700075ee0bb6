import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { NOW } from '../../fake-core.ts'
import { openHall } from './hall.ts'
import { axe, launch, show, small, wide } from './page.ts'
import { SCENES, type Shown } from './scenes.ts'

// COUNTERSIGN_SHOTS: where the pictures go; `none` takes none, and holds every screen to its checks alone. COUNTERSIGN_SCENES, _LANGUAGES,
// _LOOKS: only these, by comma.
const FOLDER = process.env['COUNTERSIGN_SHOTS'] ?? new URL('../../../../../../target/companion-screenshots', import.meta.url).pathname
const only = (name: string, all: readonly string[]) => process.env[`COUNTERSIGN_${name}`]?.split(',') ?? all
const LANGUAGES = only('LANGUAGES', ['en', 'zh-Hans', 'ja'])
const SHOWN = only('SCENES', Object.keys(SCENES))
const LOOKS = only('LOOKS', ['phone-light', 'phone-dark', 'desk-light', 'desk-dark'])
const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } } as const

/** A picture's height at most, in pixels: a timeline has no end. */
const HIGHEST = 6_000

let hall: Awaited<ReturnType<typeof openHall>>
let browser: Browser
beforeAll(async () => {
  hall = await openHall()
  browser = await launch()
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
      if (FOLDER !== 'none') mkdirSync(folder, { recursive: true })
      const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, locale: language === 'zh-Hans' ? 'zh-CN' : language, timezoneId: 'America/New_York', reducedMotion: 'reduce' })
      const page = await context.newPage()
      await page.clock.setFixedTime(NOW)
      const wrong: string[] = []
      page.on('pageerror', (error) => wrong.push(`${page.url()}: ${error.message}`))
      page.on('console', (message) => message.type() === 'error' && wrong.push(`${page.url()}: ${message.text()}`))
      for (const name of SHOWN) {
        await show(page, hall.address, name, SCENES[name] as Shown)
        await picture(page, join(folder, `${name}.png`), SIZES[size])
        const found = [...(await axe(page)), ...(await small(page)), ...(await wide(page))]
        wrong.push(...found.map((finding) => `${name}: ${finding}`))
      }
      await context.close()
      expect(wrong).toEqual([])
    })
  }
}

// WCAG 2.2: 1.4.4 (text at 200 %) and 1.4.10 (320 pixels wide).
for (const [name, width, text] of [['text-200', 390, 4], ['narrow', 320, 1]] as const) {
  for (const language of LANGUAGES) {
    test(`${name} in ${language}: nothing is cut off`, async () => {
      const folder = join(FOLDER, name, language)
      if (FOLDER !== 'none') mkdirSync(folder, { recursive: true })
      const context = await browser.newContext({ viewport: { width, height: 844 }, timezoneId: 'America/New_York', reducedMotion: 'reduce' })
      await context.addInitScript((look) => location.protocol !== 'about:' && localStorage.setItem('countersign.look', look), JSON.stringify({ language, text }))
      const page = await context.newPage()
      await page.clock.setFixedTime(NOW)
      const wrong: string[] = []
      for (const scene of SHOWN) {
        await show(page, hall.address, scene, SCENES[scene] as Shown)
        await picture(page, join(folder, `${scene}.png`), { width, height: 844 })
        wrong.push(...(await wide(page)).map((finding) => `${scene}: ${finding}`))
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

/** The whole page in one picture, with what is fixed at its foot at the foot; a sheet as it lies over the screen. */
async function picture(page: Page, path: string, size: { width: number; height: number }): Promise<void> {
  if (FOLDER === 'none') return
  const sheet = (await page.locator('dialog').count()) > 0
  const height = sheet ? size.height : await page.evaluate(() => document.documentElement.scrollHeight)
  await page.setViewportSize({ width: size.width, height: Math.min(Math.max(height, size.height), HIGHEST) })
  await page.screenshot({ path })
  await page.setViewportSize(size)
}
