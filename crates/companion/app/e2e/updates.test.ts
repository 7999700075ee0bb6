// A newer build on the host: the app says so and uses it when told to, and takes none that is not whole.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { elsewhere } from './fresh.ts'
import { Hall } from './hall.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let host: Awaited<ReturnType<typeof elsewhere>>

beforeAll(async () => {
  host = await elsewhere()
  hall = await Hall.open({ COUNTERSIGN_COMPANION__ORIGINS: JSON.stringify([host.address]) })
  await host.point(hall.app)
  phone = await Phone.start()
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
  await host?.close()
})

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** The manifest as the app keeps it; absent while no whole set is kept. */
const kept = () =>
  phone.page.evaluate(async () => {
    const names = (await caches.keys()).sort()
    const texts = await Promise.all(names.map(async (name) => (await (await caches.open(name)).match(new URL('manifest.webmanifest', location.href)))?.text()))
    const whole = await Promise.all(names.map(async (name) => (await (await caches.open(name)).match(new URL('listing.txt', location.href))) !== undefined))
    return texts.filter((_, at) => whole[at])
  })

/** What the host says from now on: a manifest, and a list that names it by this hash. */
async function renew(manifest: string, named: string): Promise<void> {
  const listing = await (await fetch(`${host.address}/listing.txt`)).text()
  host.serve('/listing.txt', listing.replace(/^[0-9a-f]{64}(?=  manifest\.webmanifest$)/m, named))
  host.serve('/manifest.webmanifest', manifest)
}

test('a build that is not whole is not taken, and a whole one is used when she says so', async () => {
  const { page } = phone
  const visit = async () => {
    await page.goto('about:blank')
    await page.goto(`${host.address}/`)
    await page.getByRole('button', { name: say.welcome.create }).waitFor()
  }
  await visit()
  await expect.poll(async () => (await kept()).length, { timeout: 20_000 }).toBe(1)
  const [first] = await kept()

  const newer = `${first} `
  await renew(newer, hash('another'))
  const before = host.asked.length
  await visit()
  // It is asked for, found to be another than the list names, and the set given up.
  await expect.poll(() => host.asked.slice(before), { timeout: 20_000 }).toContain('/manifest.webmanifest')
  await expect.poll(() => page.evaluate(async () => (await caches.keys()).length), { timeout: 20_000 }).toBe(1)
  expect(await kept()).toEqual([first])
  expect(await page.getByText(say.update.ready).count()).toBe(0)

  await renew(newer, hash(newer))
  await visit()
  await page.getByText(say.update.ready).waitFor()
  expect(await phone.axe()).toEqual([])
  await page.getByRole('button', { name: say.update.reload }).click()
  await page.getByText(say.update.ready).waitFor({ state: 'detached' })
  await page.getByRole('button', { name: say.welcome.create }).waitFor()
  expect(await kept()).toEqual([newer])
})
