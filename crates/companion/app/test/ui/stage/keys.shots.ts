// What only a real browser shows: keys, focus, the back button, and that the checks of the other file can fail.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from 'vitest'
import { en as say } from '../../../src/ui/messages/en.ts'
import { messages as ja } from '../../../src/ui/messages/ja.ts'
import { NOW } from '../../fake-core.ts'
import { openHall } from './hall.ts'
import { axe, launch, show, small, wide } from './page.ts'
import { SCENES, type Shown } from './scenes.ts'

let hall: Awaited<ReturnType<typeof openHall>>
let browser: Browser
let page: Page
beforeAll(async () => {
  hall = await openHall()
  browser = await launch()
})
afterAll(async () => {
  await browser?.close()
  await hall?.close()
})
beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 390, height: 844 }, reducedMotion: 'reduce', locale: 'en-US' })
  await page.clock.setFixedTime(NOW)
})
afterEach(() => page.close())

const open = (name: string) => show(page, hall.address, name, SCENES[name] as Shown)
const focused = () => page.evaluate(() => `${document.activeElement?.tagName} ${document.activeElement?.textContent?.trim()}`)

test('a screen that opens is read out from its heading', async () => {
  await open('home')
  expect(await focused()).toBe(`H1 ${say.home.title}`)
  await page.getByRole('link', { name: say.home.asks('Skylark Air') }).click()
  await page.getByRole('heading', { level: 1, name: say.request.title('Skylark Air') }).waitFor()
  expect(await focused()).toBe(`H1 ${say.request.title('Skylark Air')}`)
  expect(await page.title()).toContain(say.request.title('Skylark Air'))
})

test('every control of a request is reached with Tab, and each shows that it is', async () => {
  await open('request')
  const wanted = await page.locator('main :is(button, a[href], input, summary)').evaluateAll((all) => all.filter((one) => one.checkVisibility()).length)
  const seen = new Set<string>()
  for (let turn = 0; turn < wanted + 12; turn++) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(() => {
      const target = document.activeElement
      if (!target?.closest('main')) return undefined
      const all = [...document.querySelectorAll('main :is(button, a[href], input, summary)')]
      return { at: String(all.indexOf(target)), ring: getComputedStyle(target).outlineStyle }
    })
    if (!at) continue
    seen.add(at.at)
    expect(at.ring).toBe('solid')
  }
  expect(seen.size).toBe(wanted)
})

test('what has the focus is not behind the foot that sticks', async () => {
  await open('request')
  const hidden: string[] = []
  for (let turn = 0; turn < 24; turn++) {
    await page.keyboard.press('Tab')
    const covered = await page.evaluate(() => {
      const target = document.activeElement
      if (!target?.closest('main') || target.closest('.foot')) return undefined
      const box = target.getBoundingClientRect()
      const foot = document.querySelector('.foot')?.getBoundingClientRect()
      return foot && box.top >= foot.top ? target.outerHTML.slice(0, 80) : undefined
    })
    if (covered) hidden.push(covered)
  }
  expect(hidden).toEqual([])
})

test('a sheet holds the focus, closes on Escape, and gives the focus back', async () => {
  await open('request')
  const change = page.getByRole('button', { name: say.request.change, exact: true })
  await change.focus()
  await page.keyboard.press('Enter')
  const sheet = page.getByRole('dialog', { name: say.request.changing.title })
  await sheet.waitFor()
  for (let turn = 0; turn < 40; turn++) {
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest('dialog') !== null)).toBe(true)
  }
  await page.keyboard.press('Escape')
  await sheet.waitFor({ state: 'detached' })
  expect(await focused()).toContain(say.request.change)
})

test('a look at the data and the back button lose nothing of what was chosen', async () => {
  await open('home')
  await page.getByRole('link', { name: say.home.asks('Skylark Air') }).click()
  const optional = page.getByRole('switch', { name: say.request.include })
  expect(await optional.isChecked()).toBe(false)
  await optional.check()
  await page.getByRole('link', { name: say.request.seeData }).click()
  await page.getByRole('heading', { level: 1, name: say.preview.title }).waitFor()
  await page.goBack()
  await page.getByRole('heading', { level: 1, name: say.request.title('Skylark Air') }).waitFor()
  expect(await optional.isChecked()).toBe(true)
  await page.goBack()
  await page.getByRole('heading', { level: 1, name: say.home.title }).waitFor()
})

test('after an approval, back leads home and not into the request', async () => {
  await open('home')
  await page.getByRole('link', { name: say.home.asks('Skylark Air') }).click()
  await page.getByRole('button', { name: say.request.approve, exact: true }).click()
  await page.getByRole('heading', { level: 1, name: say.receipt.title }).waitFor()
  await page.goBack()
  await page.getByRole('heading', { level: 1, name: say.home.title }).waitFor()
})

test('Decline and Approve are of one size, and so is what is not mine and what is', async () => {
  for (const [scene, one, other] of [['request', say.request.decline, say.request.approve], ['link', say.link.notMine, say.link.accept]] as const) {
    await open(scene)
    const [a, b] = await Promise.all([one, other].map((name) => page.getByRole('button', { name, exact: true }).boundingBox()))
    expect([a?.width, a?.height, a?.y]).toEqual([b?.width, b?.height, b?.y])
  }
})

test('an invitation is in no address and no history once the page stands', async () => {
  await open('link')
  expect(page.url()).not.toContain('invitation')
  await page.evaluate(() => {
    location.hash = '#countersign-invitation=second'
  })
  await page.getByRole('heading', { level: 1, name: say.link.title('Skylark Air') }).waitFor()
  expect(page.url()).not.toContain('second')
})

test('what comes first on the home screen is hers to say, and nothing is left out by it', async () => {
  await open('home')
  const parts = async () => {
    await page.getByRole('heading', { level: 2, name: say.home.active }).waitFor()
    return page.locator('main h2').allTextContents()
  }
  const before = await parts()
  await page.getByRole('link', { name: say.nav.help }).click()
  await page.getByRole('radio', { name: say.settings.firstBenefits }).check()
  await page.getByRole('link', { name: say.nav.home }).click()
  expect(before[0]).toBe(say.home.waiting)
  await expect.poll(async () => (await parts())[0]).toBe(say.home.benefits)
  const after = await parts()
  expect([...after].sort()).toEqual([...before].sort())
})

test('another language and size of text come at once, and are there the next time', async () => {
  await open('settings')
  const size = () => page.evaluate(() => parseFloat(getComputedStyle(document.documentElement).fontSize))
  const before = await size()
  await page.getByRole('radio', { name: say.settings.sizes[3] }).check()
  await expect.poll(size).toBe(2 * before)
  await page.getByRole('radio', { name: '日本語' }).check()
  await page.getByRole('heading', { level: 1, name: ja.settings.title }).waitFor()
  await page.reload()
  await page.getByRole('heading', { level: 1, name: ja.settings.title }).waitFor()
  expect([await size(), await page.evaluate(() => document.documentElement.lang)]).toEqual([2 * before, 'ja'])
})

test('who wants little motion sees none', async () => {
  const moving = async (reducedMotion: 'reduce' | 'no-preference') => {
    await page.emulateMedia({ reducedMotion })
    await open('stop-recorded')
    return page.evaluate(() => document.getAnimations().filter((one) => one.playState === 'running').length)
  }
  expect(await moving('no-preference')).toBeGreaterThan(0)
  expect(await moving('reduce')).toBe(0)
})

test('the checks of every screen can fail', async () => {
  await open('home')
  expect([...(await axe(page)), ...(await small(page)), ...(await wide(page))]).toEqual([])
  await page.evaluate(() => {
    const button = document.createElement('button')
    button.style.cssText = 'width:20px;height:20px;position:absolute;left:600px'
    document.querySelector('main')?.append(button)
  })
  expect((await axe(page)).join()).toContain('button-name')
  expect((await small(page)).join()).toContain('small')
  expect((await wide(page)).join()).toContain('outside')
})
