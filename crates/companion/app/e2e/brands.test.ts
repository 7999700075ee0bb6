// What a brand's own page and its app take part in: a code that goes back by itself, and a place that leaves by a tap.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { BRANDS, Hall } from './hall.ts'
import { CALLED, Mei } from './mei.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone
let mei: Mei
/** Skylark's site: a page, and the addresses that it was asked for. */
let site: Server
const asked: string[] = []
let address = ''

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  site = createServer((request, answer) => {
    asked.push(`${request.url} ${request.headers.referer ?? ''}`)
    answer.setHeader('content-type', 'text/html').end('<!doctype html><title>Skylark</title><h1>Welcome back</h1>')
  })
  await new Promise<void>((resolve) => site.listen(0, 'localhost', resolve))
  address = `http://localhost:${(site.address() as AddressInfo).port}/link?step=2`
  phone = await Phone.start()
  mei = new Mei(hall, phone)
  await mei.begin()
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
  site?.closeAllConnections()
  site?.close()
})

test('the code goes back to where the brand signed, in the fragment alone', async () => {
  const { url, link } = await hall.invite('skylark', 'Mei, gold card', address)
  await phone.page.goto('about:blank')
  await phone.page.goto(url)
  await mei.button(say.link.accept).click()
  const back = phone.page.getByRole('link', { name: say.link.codeBack(CALLED.skylark) })
  await back.waitFor()
  await phone.page.getByText(say.link.codeBackHint(new URL(address).host)).waitFor()
  expect(await phone.axe()).toEqual([])
  await back.click()
  await phone.page.getByRole('heading', { name: 'Welcome back' }).waitFor()
  const [, code = ''] = /#countersign-code=(\d{6})$/.exec(phone.page.url()) ?? []
  expect(phone.page.url()).toBe(`${address}#countersign-code=${code}`)
  // No server is sent a fragment, and no page is told where she came from.
  expect(asked.filter((line) => line.startsWith('/link'))).toEqual(['/link?step=2 '])
  await hall.confirm('skylark', link, code)
  await mei.open()
  await phone.page.getByText('Mei, gold card').waitFor()
})

test('an address that is not the brand’s to sign is in no invitation, and one beside the invitation is not followed', async () => {
  for (const bad of ['javascript:alert(1)//', 'http://skylark.example/', 'https://skylark.example@evil.example/']) {
    await expect(hall.invite('hopp', 'Mei', bad)).rejects.toThrow('return_address')
  }
  const { url } = await hall.invite('hopp', 'Mei, rides')
  await phone.page.goto('about:blank')
  await phone.page.goto(`${url}&return_address=https://evil.example/`)
  await phone.page.locator('.problem').waitFor()
  await phone.page.goto('about:blank')
  await phone.page.goto(url)
  await mei.button(say.link.accept).click()
  await mei.heading(say.link.codeTitle(CALLED.hopp)).waitFor()
  expect(await phone.page.getByRole('link', { name: say.link.codeBack(CALLED.hopp) }).count()).toBe(0)
})

test('where she stands leaves by her tap alone, and once for each', async () => {
  for (const brand of BRANDS) await mei.link(brand)
  const offered = await hall.ask('hopp', { offer: { row: 1, optional: ['pickup.location'] } })
  if (offered === 'done' || !('published' in offered)) throw new Error(JSON.stringify(offered))
  await hall.put(mei.subjects.skylark ?? '', [[offered.published.offers[0]?.[1] ?? '', false]])
  await mei.open()
  await phone.page.getByRole('link', { name: say.home.asks(CALLED.skylark) }).click()
  const add = phone.page.getByRole('switch')
  await add.waitFor()
  expect(await add.isChecked(), 'what may be added starts switched off').toBe(false)
  await add.check()
  await mei.approves()
  const grant = await hall.until((brand, event) => (brand === 'hopp' && 'granted' in event && event.granted.row === 1 ? event.granted.grant : undefined))
  const fetch = () => hall.ask('hopp', { fetch: { grant, purpose: 'pickup_planning', fields: ['pickup.location'] } })
  expect(await fetch()).toMatchObject({ refused: {} })
  await mei.open(`#/${grant}`)
  await mei.button(say.grant.tap).click()
  await phone.page.getByText(say.grant.tapped).first().waitFor({ state: 'attached' })
  expect(await phone.axe()).toEqual([])
  await hall.until((brand, event) => (brand === 'hopp' && 'tapped' in event ? event : undefined))
  expect(await fetch()).toMatchObject({ fetched: { values: [['pickup.location', expect.stringMatching(/^40\.6/)]] } })
  expect(await fetch(), 'one tap, one fetch').toMatchObject({ refused: {} })
  await mei.open('#/activity')
  await phone.page.getByText(say.timeline.transfer(CALLED.skylark, CALLED.hopp)).first().waitFor()
})
