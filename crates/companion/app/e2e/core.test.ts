// The app's core without a screen, against a real broker and the brands: each verb of the contract, with a passkey made of memory.
import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { open, type Companion, type GrantView, type StopProgress } from '../src/core/index.ts'
import { BRANDS, Hall } from './hall.ts'
import { Passkeys } from './passkeys.ts'
import { comparable, CommandLine, unzipped, type Taken } from './taken.ts'

let hall: Hall
let core: Companion
let request: string
const passkeys = new Passkeys()
const subjects = new Map<string, string>()

/** A device with nothing on it. */
function newDevice(): void {
  globalThis.indexedDB = new IDBFactory()
}

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  Object.assign(globalThis, { location: new URL(`${hall.app}/`) })
  passkeys.install()
  core = await open({ languages: ['en'] })
})

afterAll(async () => {
  await hall?.close()
})

const row1 = async (): Promise<GrantView> => (await core.grants()).find(({ terms }) => terms.purpose.code === 'pickup_planning' && terms.source.name === 'partners/skylark')!

function followed(grant: string): Promise<StopProgress[]> {
  return new Promise((resolve) => {
    const steps: StopProgress[] = []
    core.follow(grant, (step) => {
      steps.push(step)
      if (step.state !== 'recorded') resolve(steps)
    })
  })
}

test('a dismissed passkey makes nothing', async () => {
  passkeys.dismissed = true
  await expect(core.firstUse('passkey', 'My phone')).rejects.toMatchObject({ error: { kind: 'cancelled' } })
  passkeys.dismissed = false
  expect(core.status().keys).toBe('none')
})

test('first use makes a passkey, and enters the customer', async () => {
  await core.firstUse('passkey', 'My phone')
  expect(core.status().keys).toBe('passkey')
  const { authenticators } = await core.settings()
  expect(authenticators).toMatchObject([{ label: 'My phone', thisDevice: true }])
})

test('a first use that is cut off goes on by itself', async () => {
  const here = globalThis.indexedDB
  newDevice()
  const cut = await open({ languages: ['en'] })
  const real = globalThis.fetch
  globalThis.fetch = () => Promise.reject(new TypeError('no network'))
  await expect(cut.firstUse('passkey', 'Cut off')).rejects.toMatchObject({ error: { kind: 'unreachable' } })
  expect(cut.status().keys).toBe('passkey')
  globalThis.fetch = real
  const later = await open({ languages: ['en'] })
  await expect.poll(async () => (await later.settings().catch(() => undefined))?.authenticators.map(({ label }) => label)).toEqual(['Cut off'])
  globalThis.indexedDB = here
})

test('links three brands', async () => {
  for (const brand of BRANDS) {
    const { url, link, subject } = await hall.invite(brand, `Mei at ${brand}`)
    expect(await core.readInvitation(url)).toMatchObject({ label: `Mei at ${brand}`, replaces: false })
    const accepted = await core.acceptInvitation()
    expect(accepted).toMatchObject({ name: link, state: 'accepted' })
    await hall.confirm(brand, link, accepted.code)
    subjects.set(brand, subject)
  }
  expect((await core.links()).map(({ state, label }) => [state, label])).toEqual(BRANDS.map((brand) => ['confirmed', `Mei at ${brand}`]))
})

test('reads a request, looks at the values, and approves what is switched on with one gesture', async () => {
  request = await hall.request(subjects.get('skylark')!)
  const view = await core.readRequest(request)
  expect(view.rows.map(({ optional, missing }) => [optional, missing.length])).toEqual([[false, 0], [false, 0], [false, 0], [false, 0], [true, 0]])
  expect(view.rows[0]!.required.every(({ fallback, title, path }) => !fallback && title !== path)).toBe(true)
  const preview = await core.preview(view, 1)
  expect(preview.values.find(({ field }) => field.path === 'trip.flight_no')?.value).toContain('35')
  expect(core.choose(view, { rows: [] }).map(({ number }) => number)).toEqual([1, 2, 3, 4])
  expect(() => core.choose(view, { rows: [], changed: { 1: { uses: 1_000 } } })).toThrow('widened')
  const before = passkeys.asked
  const receipt = await core.approve(view, { rows: [], changed: { 2: { uses: 3 } } })
  expect(passkeys.asked - before).toBe(1)
  expect(receipt.rows.map(({ terms }) => terms.uses)).toEqual([view.rows[0]!.uses, 3, view.rows[2]!.uses, view.rows[3]!.uses])
  expect(await core.receipt(request)).toMatchObject({ request, rows: receipt.rows })
  expect(JSON.parse(await (await receipt.file()).text())).toMatchObject({ grants: [{ proof: /^c2sp/ }, {}, {}, {}].map(() => ({ proof: expect.stringContaining('c2sp.org/tlog-proof@v1') as string })) })
})

test('every proof holds, step by step', async () => {
  for (const grant of await core.grants()) {
    const proof = await core.proofOf(grant.proof!)
    expect(proof.steps.map(({ check, result }) => [check, result])).toEqual([['signature', 'holds'], ['inclusion', 'holds'], ['consistency', 'holds'], ['commitments', 'holds']])
  }
})

test('the first transfer is held against what she had looked at, and a refusal is shown as well', async () => {
  await hall.until((brand, event) => (brand === 'hopp' && 'followed' in event && event.followed.row === 1 ? event.followed : undefined))
  const { name } = await row1()
  await hall.ask('hopp', { fetch: { grant: name, purpose: 'pickup_planning', fields: ['trip.fare'] } })
  const { entries } = await core.timeline({ grant: name })
  expect(entries.find(({ kind }) => kind === 'transfer')?.compared?.every(({ since }) => since === 'same')).toBe(true)
  expect(entries.find(({ kind }) => kind === 'refused')?.reason).toBe('FIELD_NOT_GRANTED')
  const all = await core.timeline()
  expect(all.entries.length).toBeGreaterThan(entries.length)
  expect(all.entries.map(({ index }) => index)).toEqual(all.entries.map(({ index }) => index).sort((a, b) => b - a))
  expect((await core.timeline({ filter: 'refusals' })).entries.every(({ kind }) => kind === 'refused' || kind === 'notReleased')).toBe(true)
})

test('narrows a grant, pauses and resumes it', async () => {
  const { name, terms } = await row1()
  const less = await core.narrow(name, { uses: 5 })
  expect(less).toMatchObject({ previous: name, state: 'active', terms: { uses: 5 } })
  expect(terms.uses).toBeGreaterThan(5)
  await expect(core.narrow(less.name, { uses: 50, retentionSeconds: 10 ** 9 })).rejects.toMatchObject({ error: { kind: 'malformed', check: 'retention_seconds' } })
  // The old name is good for the newest revision.
  expect(await core.pause(name)).toMatchObject({ grant: less.name, verb: 'pause' })
  expect((await followed(less.name)).at(-1)).toMatchObject({ state: 'stopped', verb: 'pause' })
  await expect(core.pause(name)).rejects.toMatchObject({ error: { kind: 'notNow', problem: 'paused' } })
  expect(await core.resume(less.name)).toMatchObject({ verb: 'resume' })
})

test('what was last seen is there before anybody answers', async () => {
  const [grants, links] = [await core.grants(), await core.links()]
  const requests = await core.requests()
  const real = globalThis.fetch
  const called: unknown[] = []
  globalThis.fetch = (input) => {
    called.push(input)
    return Promise.reject(new TypeError('no network'))
  }
  const seen = await core.seen()
  globalThis.fetch = real
  expect(called).toEqual([])
  expect(seen).toEqual({ requests, grants, links })
  expect(grants.length).toBeGreaterThan(3)
})

test('a stop that nobody hears is queued, and goes out later', async () => {
  const grant = (await core.grants()).find(({ terms }) => terms.purpose.code === 'trip_updates')!
  const real = globalThis.fetch
  globalThis.fetch = () => Promise.reject(new TypeError('no network'))
  expect(await core.stop(grant.name)).toMatchObject({ state: 'queued' })
  expect(core.status()).toMatchObject({ queued: 1, online: false })
  expect(await core.grants()).toHaveLength((await core.grants()).length)
  expect((await core.grants()).find(({ name }) => name === grant.name)).toMatchObject({ queued: true, state: 'active' })
  globalThis.fetch = real
  expect((await followed(grant.name)).at(-1)).toMatchObject({ state: 'stopped', verb: 'stop' })
  expect(core.status()).toMatchObject({ queued: 0, online: true })
})

test('another device takes everything over with the passkey', async () => {
  const here = globalThis.indexedDB
  newDevice()
  const other = await open({ languages: ['ja'] })
  await other.unlock()
  expect((await other.links()).map(({ state }) => state)).toEqual(['confirmed', 'confirmed', 'confirmed'])
  const grants = await other.grants()
  expect(grants.map(({ name, state }) => [name, state]).sort()).toEqual((await core.grants()).map(({ name, state }) => [name, state]).sort())
  // What was approved here is proven there as well.
  const proof = (await other.grant(grants[0]!.name)).proof
  expect((await other.proofOf(proof!)).holds).toBe(true)
  // A stop there is a stop here.
  const one = grants.find(({ state }) => state === 'active')!
  await other.stop(one.name)
  expect((await core.grant(one.name)).state).toBe('withdrawn')
  globalThis.indexedDB = here
})

test('a second passkey can be added, and the last one not removed', async () => {
  const added = await core.addAuthenticator('My key ring')
  expect((await core.settings()).authenticators).toHaveLength(2)
  await core.removeAuthenticator(added.id)
  const [last] = (await core.settings()).authenticators
  await expect(core.removeAuthenticator(last!.id)).rejects.toMatchObject({ error: { kind: 'notNow', problem: 'last' } })
})

test('what happens is told as it happens', async () => {
  const told: string[] = []
  const heard = new Promise<void>((resolve) => {
    core.watch(({ what }) => {
      told.push(what)
      if (what === 'requests') resolve()
    })
  })
  await expect.poll(() => told).toContain('status')
  const name = await hall.request(subjects.get('skylark')!)
  await core.requests()
  await heard
  await core.refuse(name)
})

test('sets how she is asked', async () => {
  await core.setAsking({ timeZone: 'America/New_York', quiet: { fromMinute: 1320, untilMinute: 420 }, perDay: 2, perWeek: 5, paused: false })
  expect((await core.settings()).asking).toEqual({ timeZone: 'America/New_York', quiet: { fromMinute: 1320, untilMinute: 420 }, perDay: 2, perWeek: 5, paused: false })
})

test('reports the keys stolen: everything is stopped, and nothing is done with them any more', async () => {
  const here = globalThis.indexedDB
  newDevice()
  const other = await open({ languages: ['en'] })
  await other.firstUse('device', 'This browser')
  expect((await other.reportStolen()).each).toEqual([])
  expect(other.status().keys).toBe('over')
  await expect(other.requests()).rejects.toMatchObject({ error: { kind: 'over', how: 'stolen' } })
  globalThis.indexedDB = here
})

test('stops everything with one gesture', async () => {
  const before = passkeys.asked
  const all = await core.stopAll({ erase: true })
  expect(passkeys.asked - before).toBe(1)
  expect(all.list).toBeUndefined()
  expect(all.each.map(({ state }) => state)).not.toContain('refused')
  expect((await core.grants()).filter(({ state }) => ['active', 'paused'].includes(state))).toEqual([])
  expect((await core.erasures()).length).toBe(all.each.length)
})

test('what is taken along is what the command line takes along for the same person, byte for byte', async () => {
  const cli = await CommandLine.of(hall, passkeys.secret)
  // Brands go on acknowledging and deleting for a moment.
  const names = (taken: Taken) => [...taken.keys()].sort().join()
  let [theirs, mine] = [await cli.takes(), await unzipped(await core.exportAll())]
  for (let left = 10; names(mine) !== names(theirs) && left > 0; left -= 1) [theirs, mine] = [await cli.takes(), await unzipped(await core.exportAll())]
  expect(names(mine)).toBe(names(theirs))
  for (const [name, text] of mine) {
    if (name.endsWith('.tlog-proof')) await cli.verifies(text)
    else expect.soft(comparable(name, text), name).toBe(comparable(name, theirs.get(name)!))
  }
  const manifest = JSON.parse(mine.get('manifest.json')!) as { records: number; grants: number }
  const held = (folder: string) => [...mine.keys()].filter((name) => name.startsWith(`${folder}/`))
  expect([held('proofs').length, held('consents').length]).toEqual([manifest.records, manifest.grants])
  expect(manifest.grants).toBeGreaterThan(3)
  expect(mine.get('events.json')).toContain('fetch.v1+protobuf')
  await cli.end()
})

test('keys on this device alone do the same, without a passkey', async () => {
  newDevice()
  const other = await open({ languages: ['en'] })
  const before = passkeys.asked
  await other.firstUse('device', 'This browser')
  const { url, link } = await hall.invite('chirp', 'Another')
  await other.readInvitation(url)
  await hall.confirm('chirp', link, (await other.acceptInvitation()).code)
  expect((await other.links())[0]?.state).toBe('confirmed')
  expect(passkeys.asked).toBe(before)
  expect((await other.closeAccount()).state).toBe('closed')
  expect(other.status().keys).toBe('over')
  await expect(other.grants()).rejects.toMatchObject({ error: { kind: 'over', how: 'closed' } })
  // Whoever begins again is somebody new, to whom nothing of it clings.
  await other.firstUse('device', 'This browser')
  expect(other.status().keys).toBe('device')
  expect(await other.links()).toEqual([])
  expect(await other.settings()).toMatchObject({ authenticators: [] })
})

test('a closing whose proof was lost is told as what it is, and nothing is done with these keys any more', async () => {
  newDevice()
  const other = await open({ languages: ['en'] })
  await other.firstUse('device', 'This browser')
  const real = globalThis.fetch
  // The broker does as it is asked, and nobody hears it say so.
  globalThis.fetch = async (input, init) => {
    const answer = await real(input, init)
    if (!String(input).endsWith('/CloseCustomer')) return answer
    await answer.arrayBuffer()
    throw new TypeError('cut off')
  }
  await expect(other.closeAccount()).rejects.toMatchObject({ error: { kind: 'unreachable' } })
  globalThis.fetch = real
  expect(other.status().keys).toBe('device')
  expect((await other.closeAccount()).state).toBe('unproven')
  expect(other.status()).toMatchObject({ keys: 'over', over: { how: 'unproven', left: [] } })
  await expect(other.grants()).rejects.toMatchObject({ error: { kind: 'over', how: 'unproven' } })
})

test('whoever begins is known to the broker before any screen asks for her things', async () => {
  newDevice()
  const other = await open({ languages: ['en'] })
  const asked: Promise<unknown>[] = []
  other.watch(({ what }) => {
    if (what === 'status' && other.status().keys === 'device') asked.push(other.requests(), other.grants(), other.links())
  })
  await other.firstUse('device', 'This browser')
  expect(asked.length).toBeGreaterThan(0)
  expect(await Promise.all(asked)).toEqual(asked.map(() => []))
})
