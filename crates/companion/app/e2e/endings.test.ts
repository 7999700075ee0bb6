// What ends: a stop that no source confirms, keys that were stolen while a brand is away, and the account, with grants standing.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let mei: Mei
const what = say.app.gives(CALLED.skylark, CALLED.hopp)

/** Longer than a stop or a closing waits for a brand's word. */
const OVER_A_MINUTE = 62_000

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
})
afterAll(() => hall?.close())

beforeEach(async () => {
  phone = await Phone.start()
  mei = new Mei(hall, phone)
  await phone.page.clock.install()
  await mei.begin()
  for (const brand of BRANDS) await mei.link(brand)
  await mei.opensRequest()
  await mei.approves()
})
afterEach(() => phone?.stop())

test('the account is closed with grants standing: each is stopped, its deletion ordered, and the app begins anew', async () => {
  await mei.open('#/settings')
  await phone.page.getByRole('button', { name: say.settings.closeAccount }).click()
  await mei.button(say.settings.closeConfirm).click()
  await mei.heading(say.problems.kinds.closed.title).waitFor({ timeout: OVER_A_MINUTE })
  expect(await phone.page.getByText(say.over.left).count(), 'every brand has heard').toBe(0)
  expect(await phone.axe()).toEqual([])
  await hall.until((brand, event) => (brand === 'hopp' && 'erase_due' in event ? event : undefined))
  await phone.page.reload()
  await mei.heading(say.over.title).waitFor()
  await mei.button(say.over.anew).click()
  await mei.button(say.welcome.create).click()
  await mei.heading(say.home.title).waitFor()
  await phone.page.getByText(say.home.noLinks).waitFor()
})

test('a stop that its source does not confirm within a minute says so, and what else to do', async () => {
  await mei.open()
  const stop = phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` })
  await stop.waitFor()
  hall.freeze('skylark')
  try {
    await stop.click()
    await mei.button(say.stop.stopOnly).click()
    await phone.page.getByText(say.stop.awaiting(CALLED.skylark)).waitFor()
    await phone.page.clock.fastForward(OVER_A_MINUTE)
    await phone.page.getByText(say.stop.notConfirmedHint(CALLED.skylark)).waitFor()
    expect(await phone.axe()).toEqual([])
  } finally {
    hall.thaw('skylark')
  }
})

test('the account is closed although a brand has not heard, and what that leaves stands on the last screen', async () => {
  await mei.open('#/settings')
  const close = phone.page.getByRole('button', { name: say.settings.closeAccount })
  await close.waitFor()
  hall.freeze('skylark')
  try {
    await close.click()
    await mei.button(say.settings.closeConfirm).click()
    await phone.page.getByText(say.settings.closing).waitFor()
    // As long as brands are waited for, by the page's own clock.
    for (let turn = 0; turn < 12 && (await phone.page.getByText(say.settings.closeWaits).count()) === 0; turn++) {
      await phone.page.clock.fastForward(10_000)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    await phone.page.getByText(say.settings.closeWaits).waitFor()
    await mei.button(say.settings.closeAnyway).click()
    await mei.heading(say.problems.kinds.closed.title).waitFor()
    await phone.page.getByText(say.over.leftLead).waitFor()
    await phone.page.getByText(say.over.ask(CALLED.skylark)).first().waitFor()
    expect(await phone.axe()).toEqual([])
  } finally {
    hall.thaw('skylark')
  }
})
