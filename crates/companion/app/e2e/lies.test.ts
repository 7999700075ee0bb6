// Each lie of a broker that the app can see ends in an error of its own, by whose fault it is and which check failed.
import 'fake-indexeddb/auto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'

import { CatalogueService } from '../src/gen/countersign/v1/catalogue_service_pb.ts'
import { AuditService } from '../src/gen/countersign/v1/audit_service_pb.ts'
import { CustomerService } from '../src/gen/countersign/v1/customer_service_pb.ts'
import { EventService } from '../src/gen/countersign/v1/event_service_pb.ts'
import { GrantService } from '../src/gen/countersign/v1/grant_service_pb.ts'
import { LinkService } from '../src/gen/countersign/v1/link_service_pb.ts'
import { TransferService } from '../src/gen/countersign/v1/transfer_service_pb.ts'
import { toBinary } from '@bufbuild/protobuf'
import { InvitationPackageSchema, type InvitationPackage } from '../src/gen/countersign/statement/v1/link_pb.ts'
import { base64url } from '../src/core/bytes.ts'
import { parsePackage } from '../src/core/invitation.ts'
import { open, type Companion, type StopProgress } from '../src/core/index.ts'
import { BRANDS, Hall } from './hall.ts'
import { Liar } from './liar.ts'
import { Passkeys } from './passkeys.ts'

let hall: Hall
let core: Companion
let liar: Liar
let skylark: string
let request: string

beforeAll(async () => {
  hall = await Hall.open()
  await hall.clock(Date.UTC(2013, 2, 8, 21))
  Object.assign(globalThis, { location: new URL(`${hall.app}/`) })
  new Passkeys().install()
  liar = new Liar()
  core = await open({ languages: ['en'] })
  await core.firstUse('passkey', 'My phone')
})
afterAll(async () => {
  await hall?.close()
})
afterEach(() => liar.honest())

const caught = (work: Promise<unknown>, who: string, what: string, check: string) =>
  expect(work).rejects.toMatchObject({ error: { kind: 'misbehaved', who, what, check } })
const flip = (bytes: Uint8Array) => (bytes[bytes.length >> 1]! ^= 1)

test('a confirmation that the partner did not sign leaves the link unconfirmed, and the others are seen', async () => {
  for (const brand of BRANDS) {
    const { url, link, subject } = await hall.invite(brand, `Mei at ${brand}`)
    await core.readInvitation(url)
    await hall.confirm(brand, link, (await core.acceptInvitation()).code)
    if (brand === 'skylark') skylark = subject
  }
  liar.bend(LinkService, 'listLinks', ({ links }) => void flip(links[0]!.confirmation!.signatures[0]!.signature))
  expect((await core.links()).map(({ state }) => state)).toEqual(['accepted', 'confirmed', 'confirmed'])
  liar.honest()
  expect((await core.links())[0]?.state).toBe('confirmed')
})

test('an invitation that was bent, or names another identity', async () => {
  const { url } = await hall.invite('hopp', 'Mei')
  const bent = (bend: (parcel: InvitationPackage) => unknown) => {
    const parcel = parsePackage(url)
    bend(parcel)
    return base64url(toBinary(InvitationPackageSchema, parcel))
  }
  await caught(core.readInvitation(bent((parcel) => (parcel.label = 'Somebody else'))), 'partners/hopp', 'invitation', 'label')
  await caught(core.readInvitation(bent((parcel) => flip(parcel.invitation!.signatures[0]!.signature))), 'partners/hopp', 'invitation', 'signature')
  await caught(core.readInvitation(bent((parcel) => flip(parcel.partnerKey!.signatures[0]!.signature))), 'partners/hopp', 'invitation', 'partner_key')
  await expect(core.readInvitation('https://brand.example/#countersign-invitation=x')).rejects.toMatchObject({ error: { kind: 'malformed', what: 'invitation' } })
})

test('a request whose offers, words, order or name are not those that were signed', async () => {
  request = await hall.request(skylark)
  const read = () => core.readRequest(request)
  liar.bend(GrantService, 'getGrantRequest', ({ offers }) => void offers.reverse())
  await caught(read(), 'broker', 'request', 'offers')
  liar.bend(GrantService, 'getGrantRequest', ({ offers }) => void offers.pop())
  await caught(read(), 'broker', 'request', 'offers')
  liar.bend(GrantService, 'getGrantRequest', ({ offers }) => void flip(offers[0]!.statement!.signatures[0]!.signature))
  await caught(read(), 'partners/hopp', 'offer', 'signature')
  liar.bend(GrantService, 'getGrantRequest', ({ partnerKey }) => void flip(partnerKey!.signatures[0]!.signature))
  await caught(read(), 'partners/skylark', 'request', 'partner_key')
  liar.honest()
  const another = await hall.request(skylark)
  const honest = await core.readRequest(another)
  expect(honest.rows).toHaveLength(5)
  await core.refuse(another)
})

test('a catalogue that is not the one that was reviewed', async () => {
  liar.bend(CatalogueService, 'getCatalogue', (answer) => {
    answer.document = new TextEncoder().encode(new TextDecoder().decode(answer.document).replace('uses = 24', 'uses = 240'))
  })
  // Each is fetched once, and kept by its hash: a device that has seen it can't be given another.
  await core.readRequest(request)
  globalThis.indexedDB = new (await import('fake-indexeddb')).IDBFactory()
  const other = await open({ languages: ['en'] })
  await other.unlock()
  await caught(other.readRequest(request), 'broker', 'catalogue', 'version')
})

test('values that the source did not sign, or that do not stand in the log', async () => {
  const view = await core.readRequest(request)
  liar.bend(TransferService, 'previewData', (answer) => void flip(answer.sealedFields))
  await caught(core.preview(view, 1), 'partners/skylark', 'preview_provision', 'sealed')
  liar.bend(TransferService, 'previewData', (answer) => void delete answer.receipt)
  await caught(core.preview(view, 1), 'broker', 'receipt', 'present')
  liar.bend(TransferService, 'previewData', ({ receipt }) => void flip(receipt!.record))
  await caught(core.preview(view, 1), 'broker', 'receipt', 'inclusion')
  liar.bend(TransferService, 'previewData', ({ receipt }) => void flip(receipt!.evidenceSalt))
  await caught(core.preview(view, 1), 'broker', 'receipt', 'evidence')
})

test('an approval that is said to be refused, and stands', async () => {
  const view = await core.readRequest(request)
  liar.deny(GrantService, 'approveGrantRequest')
  await caught(core.approve(view, { rows: [] }), 'broker', 'approval', 'refusal')
  // What was signed is never forgotten: it can be seen, and stopped.
  liar.honest()
  expect((await core.grants()).map(({ state }) => state)).toEqual(['active', 'active', 'active', 'active'])
})

test('a list that leaves a grant out, goes back in time, or names terms that nobody signed', async () => {
  const [first] = await core.grants()
  liar.bend(GrantService, 'listGrants', ({ grants }) => void grants.splice(grants.findIndex(({ name }) => name === first!.name), 1))
  await caught(core.grants(), 'broker', 'grants', 'omitted')
  liar.honest()
  await core.pause(first!.name)
  liar.bend(GrantService, 'listGrants', ({ grants }) => void grants.forEach((grant) => grant.changes.splice(0)))
  await caught(core.grants(), 'broker', 'grant', 'sequence')
  liar.bend(GrantService, 'listGrants', ({ grants }) => void flip(grants[0]!.terms!.signatures[0]!.signature))
  await caught(core.grants(), 'broker', 'terms', 'signature')
  liar.honest()
  await core.resume(first!.name)
})

test('a record that says other than its event, and records that are kept back', async () => {
  liar.bend(EventService, 'listEvents', ({ events }) => void (events.at(-1)!.source = 'partners/chirp'))
  await caught(core.timeline(), 'broker', 'event', 'record')
  liar.bend(EventService, 'listEvents', ({ events }) => {
    const tagged = events.filter(({ grant }) => grant !== '')
    const grant = tagged[0]!.grant
    const second = events.findIndex((event, at) => event.grant === grant && events.slice(0, at).some((before) => before.grant === grant))
    events.splice(second, 1)
  })
  await caught(core.timeline(), 'broker', 'activity', 'grant_sequence')
})

test('a proof that does not lead to the root is a step that fails', async () => {
  const { entries: [entry] } = await core.timeline({ filter: 'changes' })
  liar.bend(EventService, 'listProvenEvents', ({ events }) => void flip(events[0]!.receipt!.path[0]!))
  const bent = await core.proofOf(entry!.proof)
  expect(bent).toMatchObject({ holds: false, file: '' })
  expect(bent.steps.find(({ check }) => check === 'inclusion')?.result).toBe('fails')
  liar.bend(EventService, 'listProvenEvents', ({ events }) => void flip(events[0]!.receipt!.checkpoint))
  expect((await core.proofOf(entry!.proof)).steps.find(({ check }) => check === 'signature')?.result).toBe('fails')
})

test('a stop that is said to be refused, and stands; one that is acknowledged by nobody', async () => {
  const [first, second] = (await core.grants()).filter(({ state, terms }) => state === 'active' && terms.uses > 1)
  liar.deny(GrantService, 'changeGrant')
  await caught(core.stop(first!.name), 'broker', 'change', 'refusal')
  liar.honest()
  expect((await core.grant(first!.name)).state).toBe('withdrawn')
  liar.bend(GrantService, 'changeGrant', (answer) => void delete answer.receipt)
  await caught(core.stop(second!.name), 'broker', 'receipt', 'present')
  liar.honest()
  // The same bytes again: recorded.
  expect(await core.stop(second!.name)).toMatchObject({ verb: 'stop' })
  liar.bend(GrantService, 'getGrant', ({ acknowledgements }) => acknowledgements.forEach((word) => flip(word.statement!.signatures[0]!.signature)))
  const step = await new Promise<StopProgress>((resolve) => {
    const end = core.follow(second!.name, (progress) => {
      if (!progress.error && progress.state !== 'stopped') return
      end()
      resolve(progress)
    })
  })
  expect(step).toMatchObject({ state: 'recorded', error: { kind: 'misbehaved', what: 'acknowledgement', check: 'signature' } })
})

test('passkeys of the broker’s own, and settings that were not set', async () => {
  await core.addAuthenticator('A second')
  liar.bend(CustomerService, 'listCustomerChanges', ({ changes }) => void changes.pop())
  await caught(core.addAuthenticator('A third'), 'broker', 'authenticators', 'sequence')
  liar.bend(CustomerService, 'setAsking', ({ asking }) => void (asking!.perDay = 9))
  await caught(core.setAsking({ timeZone: 'UTC', perDay: 1, perWeek: 3, paused: false }), 'broker', 'customer', 'asking')
})

test('two histories of one log halt everything but stops', async () => {
  const third = (await core.grants()).find(({ state }) => state === 'active')
  liar.bend(AuditService, 'getConsistencyProof', ({ hashes }) => hashes.forEach(flip))
  await core.setAsking({ timeZone: 'UTC', perDay: 1, perWeek: 3, paused: false })
  // A head is published once a second.
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  await expect(core.timeline()).rejects.toMatchObject({ error: { kind: 'forked' } })
  expect(core.status().halted?.kind).toBe('forked')
  liar.honest()
  await expect(core.requests()).rejects.toMatchObject({ error: { kind: 'forked' } })
  // It goes out, and is not called recorded.
  await expect(core.stop(third!.name)).rejects.toMatchObject({ error: { kind: 'forked' } })
  expect(liar.asked.at(-1)).toBe('countersign.v1.GrantService/ChangeGrant')
})
