// The app on a host of its own: it calls the broker across origins, and only from where the broker's operator said.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { elsewhere } from './fresh.ts'
import { BRANDS, Hall } from './hall.ts'
import { Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let named: Awaited<ReturnType<typeof elsewhere>>
let unnamed: Awaited<ReturnType<typeof elsewhere>>

beforeAll(async () => {
  named = await elsewhere()
  unnamed = await elsewhere()
  hall = await Hall.open({ COUNTERSIGN_COMPANION__ORIGINS: JSON.stringify([named.address]) })
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  await Promise.all([named.point(hall.app), unnamed.point(hall.app)])
  phone = await Phone.start()
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
  await named?.close()
  await unnamed?.close()
})

test('from a named host she links, approves and checks the proof', async () => {
  hall.app = named.address
  const mei = new Mei(hall, phone)
  await mei.begin()
  for (const brand of BRANDS) await mei.link(brand)
  await mei.opensRequest()
  await mei.approves()
  await mei.button(say.receipt.check).first().click()
  await phone.page.getByText(say.proof.all).waitFor()
  expect(phone.faults).toEqual([])
  // Help names the build that this host serves.
  const listing = new Uint8Array(await (await fetch(`${named.address}/listing.txt`)).arrayBuffer())
  await mei.open('#/settings')
  await phone.page.getByText(say.app.details, { exact: true }).click()
  await phone.page.getByText(createHash('sha256').update(listing).digest('hex')).waitFor()
})

test('from any other host the browser lets no call through, and the screen says so', async () => {
  await phone.page.goto(`${unnamed.address}/`)
  await phone.page.getByRole('button', { name: say.welcome.existing, exact: true }).click()
  await phone.page.getByRole('heading', { name: say.problems.kinds.unreachable.title }).waitFor()
  expect(phone.faults.join()).toContain('CORS')
})
