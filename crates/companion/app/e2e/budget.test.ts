// A first visit on a phone of the middle range and a bad network: what it costs on the wire is held to its bound; how long it
// takes is reported, since other work on this machine counts in.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { Hall } from './hall.ts'
import { Phone } from './phone.ts'

/** As in `scripts/weigh.mjs`. */
const MOST_SCRIPT = 60 * 1024

let hall: Hall
let phone: Phone

beforeAll(async () => {
  hall = await Hall.open()
  phone = await Phone.start()
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

test('a first visit', async () => {
  await phone.slowDown()
  let script = 0
  let all = 0
  const kinds = new Map<string, string>()
  phone.devtools.on('Network.responseReceived', ({ requestId, type }) => kinds.set(requestId, type))
  // Bodies as they come, compressed. The lines before them are a few bytes each over HTTP/2, which browsers speak with TLS.
  phone.devtools.on('Network.dataReceived', ({ requestId, encodedDataLength }) => {
    all += encodedDataLength
    if (kinds.get(requestId) === 'Script') script += encodedDataLength
  })
  await phone.page.goto(hall.app)
  await phone.page.getByRole('button', { name: say.welcome.create }).waitFor()
  const { drawn, ready } = await phone.page.evaluate(() => ({
    drawn: performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    ready: performance.now(),
  }))
  console.log(
    `first visit, 4x slower processor, 150 ms round trip, 1.6 Mbit/s: drawn ${Math.round(drawn ?? NaN)} ms, ` +
      `ready ${Math.round(ready)} ms; ${script} B of script, ${all} B in all`,
  )
  expect(script).toBeGreaterThan(0)
  expect(script).toBeLessThanOrEqual(MOST_SCRIPT)
})
