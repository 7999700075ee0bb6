// Mei's airport trip in the companion: from the first visit to the stop, with everything that she can check on the way.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

/** 8 March 2013, 16:00 in New York: some hours before her flight is to leave. */
const AFTERNOON = Date.UTC(2013, 2, 8, 21)

let hall: Hall
let phone: Phone
let mei: Mei

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(AFTERNOON)
  phone = await Phone.start()
  mei = new Mei(hall, phone)
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

test('she begins with a passkey, and no password', async () => {
  await mei.begin()
  expect(await phone.passkeys()).toBe(1)
  expect(await phone.page.locator('input[type=password]').count()).toBe(0)
  expect(await phone.axe()).toEqual([])
})

test('she links three brands by their invitations', async () => {
  for (const brand of BRANDS) {
    await mei.link(brand)
    expect(phone.page.url(), 'nothing of the invitation stays in the address').not.toContain('countersign-invitation')
  }
})

test('she approves four rows once, and leaves the optional one off', async () => {
  await mei.opensRequest()
  const optional = phone.page.getByRole('switch', { name: say.request.include })
  expect(await optional.count()).toBe(1)
  expect(await optional.isChecked()).toBe(false)
  expect(await phone.axe()).toEqual([])
  await mei.approves()
  const first = await hall.until((brand, event) =>
    brand === 'hopp' && 'followed' in event && event.followed.row === 1 ? event.followed : undefined,
  )
  expect(first.moved?.values.find(([field]) => field === 'trip.flight_no')?.[1]).toContain('35')
})

test('the receipt is verified on her own device', async () => {
  await mei.button(say.receipt.check).first().click()
  await phone.page.getByText(say.proof.all).waitFor()
  expect(await phone.axe()).toEqual([])
  await phone.page.keyboard.press('Escape')
})

test('the transfer stands on her timeline, with its proof', async () => {
  await mei.open('#/activity')
  const transfer = phone.page.getByText(say.timeline.transfer(CALLED.skylark, CALLED.hopp)).first()
  await transfer.waitFor()
  expect(await phone.axe()).toEqual([])
})

test('what was not granted is refused, and she sees that too', async () => {
  const grant = await hall.until((brand, event) =>
    brand === 'hopp' && 'granted' in event && event.granted.row === 1 ? event.granted.grant : undefined,
  )
  const answer = await hall.ask('hopp', { fetch: { grant, purpose: 'pickup_planning', fields: ['trip.fare'] } })
  expect(answer).toMatchObject({ refused: {} })
  await phone.page.getByText(say.timeline.refused(CALLED.skylark, CALLED.hopp)).first().waitFor()
})

test('she stops one row, and the next read is denied', async () => {
  await mei.open()
  const what = say.app.gives(CALLED.skylark, CALLED.hopp)
  await phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` }).click()
  await mei.button(say.stop.stopOnly).click()
  await phone.page.getByText(say.stop.stoppedHint(CALLED.skylark)).first().waitFor()
  expect(await phone.axe()).toEqual([])
  const grant = await hall.until((brand, event) =>
    brand === 'hopp' && 'granted' in event && event.granted.row === 1 ? event.granted.grant : undefined,
  )
  const answer = await hall.ask('hopp', { fetch: { grant, purpose: 'pickup_planning', fields: ['trip.eta'] } })
  expect(answer).toMatchObject({ refused: { reason: 'GRANT_ENDED' } })
})

test('nothing that a page must never do was done', () => {
  expect(phone.faults).toEqual([])
})
