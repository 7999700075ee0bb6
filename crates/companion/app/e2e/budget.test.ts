// A phone of the middle range on a bad network: what a first visit costs on the wire is held to its bound; how long visits take is
// reported, since other work on this machine counts in.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

/** As in `scripts/weigh.mjs`. */
const MOST_SCRIPT = 60 * 1024

let hall: Hall
let phone: Phone
/** What came over the wire: script, and all. */
const came = { script: 0, all: 0 }

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  phone = await Phone.start()
  const kinds = new Map<string, string>()
  phone.devtools.on('Network.responseReceived', ({ requestId, type }) => kinds.set(requestId, type))
  // Bodies as they come, compressed. The lines before them are a few bytes each over HTTP/2, which browsers speak with TLS.
  phone.devtools.on('Network.dataReceived', ({ requestId, encodedDataLength }) => {
    came.all += encodedDataLength
    if (kinds.get(requestId) === 'Script') came.script += encodedDataLength
  })
  // When what is looked for is first on the page, by the page's own clock: asking from here takes a slow processor's time.
  await phone.page.addInitScript(() => {
    const found: Record<string, number> = {}
    Object.assign(window, { found })
    const look = () => {
      if (document.querySelector('button')) found['usable'] ??= performance.now()
      if (document.querySelector('progress')) found['data'] ??= performance.now()
    }
    new MutationObserver(look).observe(document, { childList: true, subtree: true })
  })
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

const when = async (what: 'usable' | 'data'): Promise<{ drawn: number; at: number }> => {
  await phone.page.waitForFunction((name) => name in (window as unknown as { found: object }).found, what)
  return phone.page.evaluate((name) => ({
    drawn: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN),
    at: Math.round((window as unknown as { found: Record<string, number> }).found[name] ?? NaN),
  }), what)
}

test('a first visit', async () => {
  await phone.slowDown()
  await phone.page.goto(hall.app)
  const { drawn, at } = await when('usable')
  const first = { ...came }
  console.log(`first visit, 4x slower processor, 150 ms round trip, 1.6 Mbit/s: drawn ${drawn} ms, usable ${at} ms; ${first.script} B of script, ${first.all} B in all`)
  expect(first.script).toBeGreaterThan(0)
  expect(first.script).toBeLessThanOrEqual(MOST_SCRIPT)
})

test('a later visit', async () => {
  await phone.fullSpeed()
  const mei = new Mei(hall, phone)
  await mei.begin()
  for (const brand of BRANDS) await mei.link(brand)
  await mei.opensRequest()
  await mei.approves()
  const what = say.app.gives(CALLED.skylark, CALLED.hopp)
  await mei.open()
  await phone.page.getByRole('link', { name: `${say.home.stop}: ${what}` }).waitFor()
  await phone.page.evaluate(() => navigator.serviceWorker.ready)
  await phone.page.goto('about:blank')
  await phone.slowDown()
  await phone.page.goto(hall.app)
  const { drawn, at } = await when('data')
  console.log(`later visit, the same phone and network: drawn ${drawn} ms, data ${at} ms`)
})
