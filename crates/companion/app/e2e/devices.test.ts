// Two tabs beside each other, a passkey that was not used, a browser whose storage was cleared, and one whose passkeys hold no keys.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let mei: Mei
const what = say.app.gives(CALLED.skylark, CALLED.hopp)

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  phone = await Phone.start()
  mei = new Mei(hall, phone)
  await mei.begin()
  for (const brand of BRANDS) await mei.link(brand)
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

test('a request that arrives is on the home screen without a reload', async () => {
  await mei.open()
  await mei.heading(say.home.nothing).waitFor()
  await hall.request(mei.subjects.skylark ?? '')
  await phone.page.getByRole('link', { name: say.home.asks(CALLED.skylark) }).waitFor()
})

test('a passkey that is not used signs nothing, and is asked for again', async () => {
  await phone.page.getByRole('link', { name: say.home.asks(CALLED.skylark) }).click()
  await mei.button(say.request.approve).waitFor()
  // The virtual authenticator blocks itself after a refusal: so the window is closed where the browser would tell the page of it.
  await phone.page.evaluate(() => {
    const { get } = CredentialsContainer.prototype
    navigator.credentials.get = () => {
      navigator.credentials.get = get
      return Promise.reject(new DOMException('dismissed', 'NotAllowedError'))
    }
  })
  await mei.button(say.request.approve).click()
  await mei.heading(say.problems.kinds.cancelled.title).waitFor()
  expect(await phone.axe()).toEqual([])
  await mei.approves()
})

test('what is paused in one tab is paused in the other', async () => {
  await mei.open()
  const pause = phone.page.getByRole('button', { name: `${say.home.pause}: ${what}` })
  await pause.waitFor()
  const other = await phone.context.newPage()
  await other.goto(`${hall.app}/`)
  await other.getByRole('button', { name: `${say.home.pause}: ${what}` }).waitFor()
  await pause.click()
  await phone.page.getByRole('button', { name: `${say.home.resume}: ${what}` }).waitFor()
  await other.getByRole('button', { name: `${say.home.resume}: ${what}` }).waitFor()
  await other.close()
})

test('what is approved in one tab can be approved in no other', async () => {
  const name = await hall.request(mei.subjects.skylark ?? '')
  const place = `#/requests/${name.split('/')[1]}`
  await mei.open(place)
  await mei.button(say.request.approve).waitFor()
  const other = await phone.context.newPage()
  await other.goto(`${hall.app}/${place}`)
  const approve = other.getByRole('button', { name: say.request.approve, exact: true })
  await approve.waitFor()
  await mei.approves()
  // It is gone from the other tab without a reload, which leads to what came of it instead.
  await approve.waitFor({ state: 'detached' })
  await other.close()
})

test('one grant that is stopped in two tabs at once is stopped once', async () => {
  const grant = `${say.home.stop}: ${say.app.gives(CALLED.skylark, CALLED.chirp)}`
  const other = await phone.context.newPage()
  for (const page of [phone.page, other]) {
    await page.goto('about:blank')
    await page.goto(`${hall.app}/`)
    await page.getByRole('link', { name: grant }).first().click()
    await page.getByRole('button', { name: say.stop.stopOnly, exact: true }).waitFor()
  }
  await phone.page.getByRole('button', { name: say.stop.stopOnly, exact: true }).click()
  await phone.page.getByText(say.stop.stoppedHint(CALLED.skylark)).first().waitFor()
  await other.getByText(say.stop.stoppedHint(CALLED.skylark)).first().waitFor()
  expect(await other.getByRole('button', { name: say.stop.stopOnly, exact: true }).count()).toBe(0)
  await other.close()
})

test('a browser whose storage was cleared gets everything back by the passkey', async () => {
  await phone.page.goto('about:blank')
  await phone.devtools.send('Storage.clearDataForOrigin', { origin: new URL(hall.app).origin, storageTypes: 'all' })
  await mei.open()
  await mei.button(say.welcome.existing).click()
  await phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` }).first().waitFor()
  expect(await phone.axe()).toEqual([])
})

test('where passkeys hold no keys the difference is said first, and the app goes on with keys in this browser', async () => {
  const plain = await Phone.start({ prf: false })
  const page = plain.page
  await page.goto(`${hall.app}/`)
  await page.getByRole('button', { name: say.welcome.create, exact: true }).click()
  await page.getByText(say.welcome.fallbackBody).waitFor()
  expect(await plain.axe()).toEqual([])
  await page.getByRole('button', { name: say.welcome.fallbackGo, exact: true }).click()
  await page.getByRole('heading', { name: say.home.title, exact: true }).waitFor()
  await page.getByRole('link', { name: say.nav.help }).first().click()
  await page.getByText(say.settings.deviceKeysHint).waitFor()
  expect(await plain.axe()).toEqual([])
  await plain.stop()
})
