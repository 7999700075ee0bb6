// A day without a network: the app opens from what it kept, says what it shows, and keeps nothing that is anybody's.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let mei: Mei

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

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

/** The addresses that the browser's caches hold. */
const cached = () =>
  phone.page.evaluate(async () => {
    const all = await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name)).keys()).map((request) => request.url)))
    return all.flat()
  })

test('what is kept is the app’s own files, every one of its list, and nothing else', async () => {
  await mei.open()
  await expect.poll(cached, { timeout: 20_000 }).toContainEqual(expect.stringMatching(/listing\.txt$/))
  const listing = await (await fetch(`${hall.app}/listing.txt`)).text()
  const own = listing.trim().split('\n').map((line) => `${hall.app}/${line.split('  ')[1]}`)
  const kept = await cached()
  expect(new Set(kept)).toEqual(new Set([...own.filter((address) => !address.endsWith('/sw.js')), `${hall.app}/listing.txt`]))
})

test('without a network the app opens, marks what it shows as what was last seen, and keeps a stop that has no effect yet', async () => {
  await phone.page.getByRole('heading', { name: say.home.active }).waitFor()
  const what = say.app.gives(CALLED.skylark, CALLED.hopp)
  await phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` }).waitFor()
  await phone.context.setOffline(true)
  await phone.page.reload()
  await phone.page.getByText(say.offline.banner).waitFor()
  await phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` }).click()
  await mei.button(say.stop.stopOnly).click()
  await phone.page.getByRole('main').getByText(say.stop.queued).first().waitFor()
  expect(await phone.axe()).toEqual([])
})

test('with the network the stop goes out by itself, and takes effect', async () => {
  await phone.context.setOffline(false)
  await phone.page.getByText(say.stop.stoppedHint(CALLED.skylark)).first().waitFor()
})
