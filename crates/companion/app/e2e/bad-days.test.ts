// Bad days in a real browser: clocks that disagree, invitations that came late or were bent, a broker that is away or lies, a page
// that others want to frame.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let mei: Mei
const what = say.app.gives(CALLED.skylark, CALLED.hopp)
const stop = () => phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` })

/** Eleven minutes: longer than an invitation stands, and than two clocks may lie apart. */
const LATE_MS = 660_000

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  phone = await Phone.start()
  mei = new Mei(hall, phone)
  await mei.begin()
  for (const brand of BRANDS) await mei.link(brand)
  await mei.opensRequest()
  await mei.approves()
})

beforeEach(() => {
  phone.faults.length = 0
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

test('a broker that is away is said to be, what was last seen stays, and it goes on by itself', async () => {
  await mei.open()
  await stop().waitFor()
  await phone.context.route('**/countersign.v1.*/**', (route) => route.abort('connectionrefused'))
  await mei.open('#/activity')
  await mei.heading(say.problems.kinds.unreachable.title).waitFor()
  expect(await phone.axe()).toEqual([])
  await mei.open()
  await stop().waitFor()
  await phone.page.getByText(say.offline.banner).waitFor()
  await phone.context.unroute('**/countersign.v1.*/**')
  await phone.page.getByText(say.offline.banner).waitFor({ state: 'detached' })
})

test('a list of grants that was bent on its way is a screen of its own, and a word on whose fault it is', async () => {
  // One letter of what the customer and the brand have signed.
  await phone.page.addInitScript(() => {
    const real = window.fetch
    window.fetch = async (address, init) => {
      const answer = await real(address, init)
      if (!String(address).endsWith('/ListGrants') || !localStorage.getItem('bends')) return answer
      const bytes = new Uint8Array(await answer.arrayBuffer())
      const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')
      for (const { index } of text.matchAll(/pickup_planning/g)) bytes[index] = 'q'.charCodeAt(0)
      return new Response(bytes, { status: answer.status, headers: answer.headers })
    }
  })
  await phone.page.evaluate(() => localStorage.setItem('bends', 'yes'))
  await mei.open()
  await phone.page.locator('.problem.alert').waitFor()
  await phone.page.getByText(say.problems.faults.broker).waitFor()
  expect(await phone.axe()).toEqual([])
  await phone.page.evaluate(() => localStorage.removeItem('bends'))
  await mei.button(say.app.retry).click()
  await stop().waitFor()
})

test('an invitation that was bent, or that came late, opens nothing', async () => {
  const { url } = await hall.invite('hopp', 'Mei, bent')
  const at = url.length - 200
  await phone.page.goto('about:blank')
  await phone.page.goto(`${url.slice(0, at)}${url[at] === 'A' ? 'B' : 'A'}${url.slice(at + 1)}`)
  await phone.page.locator('.problem').waitFor()
  expect(await phone.page.getByText('Mei, bent').count()).toBe(0)
  await phone.page.clock.install({ time: Date.now() + LATE_MS })
  const late = await hall.invite('hopp', 'Mei, late')
  await phone.page.goto('about:blank')
  await phone.page.goto(late.url)
  await mei.heading(say.problems.kinds.invitationExpired.title).waitFor()
  expect(await phone.axe()).toEqual([])
})

test('a clock that is wrong is said to be', async () => {
  // The clock of the test before.
  await mei.open('#/activity')
  await mei.heading(say.problems.kinds.clock.title).waitFor()
  expect(await phone.axe()).toEqual([])
})

test('no other page can hold the app in a frame', async () => {
  const framing: Server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(`<iframe src="${hall.app}/"></iframe>`))
  await new Promise<void>((resolve) => framing.listen(0, '127.0.0.1', resolve))
  const page = await phone.context.newPage()
  const said: string[] = []
  page.on('console', (message) => said.push(message.text()))
  await page.goto(`http://127.0.0.1:${(framing.address() as AddressInfo).port}/`)
  await expect.poll(() => said.join()).toContain('frame-ancestors')
  expect(await page.frames()[1]?.locator('button').count().catch(() => 0)).toBe(0)
  await page.close()
  framing.closeAllConnections()
  framing.close()
})
