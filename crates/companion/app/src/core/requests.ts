// Reading a request (protocol, section 8): nothing of it is shown that the broker could have twisted.
import { termsOf } from './rows.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import type { Timestamp } from '@bufbuild/protobuf/wkt'

import { GrantRequest_State, type GrantRequest as Wire, type GrantRequest_Offer } from '../gen/countersign/v1/grant_service_pb.ts'
import type { GrantRequest as Said, GrantTerms } from '../gen/countersign/statement/v1/grant_pb.ts'
import type { Offer as OfferSaid } from '../gen/countersign/statement/v1/partner_pb.ts'
import { equal } from './bytes.ts'
import { stands, type LinkRow } from './book.ts'
import { offerWithin, type Catalogue } from './catalogue.ts'
import type { Core } from './core.ts'
import { blame, digestOf, named, peek, verifyPartner, type Signed } from './envelope.ts'
import { fail, misbehaved, type Party } from './errors.ts'
import { lookUp } from './grants.ts'
import { learnLinks } from './links.ts'
import { isRequest } from './names.ts'
import { GrantRequest, MOST_WORDS, Offer, textWords } from './statements.ts'
import { allPages, PAGE_SIZE } from './transport.ts'
import type { Name, RequestState, RequestView, RowView, WaitingView } from './types.ts'
import { brand, fieldView, termsView, textOf } from './views.ts'

/** A request that verified, as verbs need it: only `verifyRequest` makes one. */
export interface ReadRequest {
  name: Name
  digest: Uint8Array
  link: LinkRow
  rows: ReadRow[]
  said: Said
  wire: Wire
}
export interface ReadRow {
  number: number
  optional: boolean
  offer: Signed<OfferSaid>
  catalogue: Catalogue
  sourceLink: LinkRow | undefined
  recipientLink: LinkRow | undefined
  renews: { name: Name; digest: Uint8Array } | undefined
  names: { source: string; recipient: string }
  /** In which the person reads it: what is signed names it, whatever is chosen meanwhile. */
  language: string
}

const STATES: Readonly<Record<number, RequestState>> = {
  [GrantRequest_State.REQUESTED]: 'requested', [GrantRequest_State.DEFERRED]: 'deferred', [GrantRequest_State.APPROVED]: 'approved',
  [GrantRequest_State.REFUSED]: 'refused', [GrantRequest_State.LAPSED]: 'lapsed', [GrantRequest_State.CANCELLED]: 'cancelled',
}
export const millis = (time: Timestamp | undefined): number => (time ? Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6) : 0)

const twisted = (check: string) => misbehaved('broker', 'request', check)

/** What the screen was drawn from: the very object is what is signed. */
const read = new WeakMap<RequestView, ReadRequest>()
export const behind = (view: RequestView): ReadRequest => read.get(view) ?? fail({ kind: 'malformed', what: 'choice', check: 'request' })

export async function requests(core: Core): Promise<WaitingView[]> {
  core.monitor.check()
  const parent = core.customer
  return core.remembered('requests', async () => {
    const listed = await allPages(async (pageToken) => {
      const { grantRequests: items, nextPageToken } = await core.client(GrantService).listGrantRequests({ parent, pageSize: PAGE_SIZE, pageToken })
      return { items, nextPageToken }
    })
    await core.learnPartners(listed.map((one) => one.requester))
    const views = await Promise.all(
      listed.map(async (one): Promise<WaitingView> => {
        if (!isRequest(one.name)) throw twisted('name')
        return {
          name: one.name, requester: await brand(core, one.requester), state: STATES[one.state] ?? 'lapsed', rows: one.offers.length,
          createdAt: millis(one.createTime), expires: millis(one.expireTime),
        }
      }),
    )
    return views.reverse()
  })
}

/** What was listed last. */
export const requestsSeen = async (core: Core): Promise<WaitingView[]> => (await core.store.get<WaitingView[]>('seen', 'requests')) ?? []

export async function readRequest(core: Core, name: Name): Promise<RequestView> {
  if (!isRequest(name)) fail({ kind: 'malformed', what: 'name', check: 'form' })
  core.monitor.check()
  // A link may have been confirmed since, may have ended, or may be of another device.
  await learnLinks(core)
  const wire = await core.client(GrantService).getGrantRequest({ name })
  const request = await verifyRequest(core, name, wire)
  await core.learnPartners([request.said.requester, ...request.rows.flatMap((row) => [row.offer.said.source, row.offer.said.recipient])])
  const view: RequestView = {
    name, requester: await brand(core, request.said.requester), state: STATES[wire.state] ?? 'lapsed', createdAt: millis(wire.createTime),
    expires: Number(request.said.expireTimeMs), rows: await Promise.all(request.rows.map((row) => rowView(core, row))), grants: [...wire.grants],
  }
  read.set(view, request)
  return view
}

async function rowView(core: Core, row: ReadRow): Promise<RowView> {
  const offer = row.offer.said
  const { uses, rate, retentionSeconds } = offer
  const terms = await termsView(core, offer, row.catalogue, { uses, rate, retentionSeconds, language: row.language }, row.names)
  const source = { ...terms.source, linked: row.sourceLink !== undefined, ...(row.sourceLink && { label: row.sourceLink.label }) }
  const recipient = { ...terms.recipient, linked: row.recipientLink !== undefined, ...(row.recipientLink && { label: row.recipientLink.label }) }
  return {
    ...terms, source, recipient, number: row.number, optional: row.optional, ...(row.renews && { renews: row.renews.name }),
    required: offer.requiredFields.map((path) => fieldView(core, row.catalogue, path)),
    addable: offer.optionalFields.map((path) => fieldView(core, row.catalogue, path)),
    durationSeconds: Number(offer.durationSeconds),
    missing: [source, recipient].filter((side) => !side.linked),
  }
}

async function verifyRequest(core: Core, name: Name, wire: Wire): Promise<ReadRequest> {
  const claimed = await peek(GrantRequest, wire.statement).catch((thrown) => Promise.reject(blame('broker', 'request', thrown)))
  const link = await core.book.linkOf(claimed.subject)
  if (!link) throw twisted('subject')
  const who = link.partner as Party
  const statement = await verifyPartner(GrantRequest, wire.statement, wire.partnerKey, link.identity, link.partner, core.origin)
    .catch((thrown) => Promise.reject(blame(who, 'request', thrown)))
  const { said } = statement
  if (named('grantRequests', statement.digest) !== name) throw twisted('name')
  if (wire.offers.length !== said.rows.length) throw twisted('offers')
  await core.head(said.checkpoint, link.partner, 'request')
  const rows: ReadRow[] = []
  for (const [at, asked] of said.rows.entries()) {
    const shown = wire.offers[at]!
    const offer = await verifyOffer(core, asked.offer, shown, link)
    let [sourceLink, recipientLink] = await linksOf(core, offer.said, link)
    let renews: ReadRow['renews']
    if (asked.renews.length > 0) {
      const old = await renewed(core, named('grants', asked.renews), offer.said)
      sourceLink = await core.book.link(old.sourceLink)
      recipientLink = await core.book.link(old.recipientLink)
      renews = { name: old.name, digest: old.digest }
    }
    const catalogue = await core.catalogue(offer.said.catalogueVersion)
    if (offerWithin(offer.said, catalogue)) throw misbehaved(offer.said.recipient as Party, 'offer', 'catalogue')
    rows.push({
      number: at + 1, optional: asked.optional, offer, catalogue, sourceLink, recipientLink, renews,
      names: { source: shown.sourceDisplayName, recipient: shown.recipientDisplayName }, language: textOf(core, offer.said).text.language,
    })
  }
  // Whether a person reads it to the end, in every language that it has.
  for (const language of new Set(rows.flatMap((row) => row.offer.said.texts.map((text) => text.language)))) {
    const words = rows.map(({ offer: { said: { texts } } }) => textWords(texts.find((text) => text.language === language) ?? texts[0]!))
    if (words.reduce((sum, one) => sum + one, 0) > MOST_WORDS) throw misbehaved(who, 'request', 'words')
  }
  return { name, digest: statement.digest, link, rows, said, wire }
}

/** Of the requester's links, the one that it asks through. */
export async function linksOf(core: Core, offer: OfferSaid, asking: LinkRow): Promise<[LinkRow | undefined, LinkRow | undefined]> {
  const linkWith = async (partner: string) => {
    if (asking.partner !== partner) return core.book.linkWith(partner)
    const now = await core.book.link(asking.name)
    return now && stands(now) ? now : undefined
  }
  return [await linkWith(offer.source), await linkWith(offer.recipient)]
}

export async function verifyOffer(core: Core, expected: Uint8Array, shown: GrantRequest_Offer, asking: LinkRow): Promise<Signed<OfferSaid>> {
  const claimed = await peek(Offer, shown.statement).catch((thrown) => Promise.reject(blame('broker', 'offer', thrown)))
  if (!equal(await digestOf(shown.statement!), expected)) throw twisted('offers')
  const [, recipientLink] = await linksOf(core, claimed, asking)
  // Until the recipient is linked nobody vouches that the identity in the offer is the brand's; and it can't be approved.
  const identity = recipientLink?.identity ?? claimed.recipientIdentity
  const who = claimed.recipient as Party
  const signed = await verifyPartner(Offer, shown.statement, shown.partnerKey, identity, claimed.recipient, core.origin)
    .catch((thrown) => Promise.reject(blame(who, 'offer', thrown)))
  if (!equal(signed.said.recipientIdentity, identity)) throw misbehaved(who, 'offer', 'recipient_identity')
  await core.head(signed.said.checkpoint, claimed.recipient, 'offer')
  return signed
}

/** The customer's own grant that a row renews: between the same parties, for the same purpose. */
async function renewed(core: Core, name: Name, offer: OfferSaid) {
  const row = (await core.book.grant(name)) ?? (await lookUp(core, name))
  if (!row) throw twisted('renews')
  const terms: GrantTerms = termsOf(row)
  if (terms.source !== offer.source || terms.recipient !== offer.recipient || terms.purpose !== offer.purpose) throw twisted('renews')
  return row
}

export async function refuse(core: Core, name: Name): Promise<void> {
  await core.client(GrantService).refuseGrantRequest({ name })
  core.tell({ what: 'requests' })
}
export async function defer(core: Core, name: Name): Promise<void> {
  await core.client(GrantService).deferGrantRequest({ name })
  core.tell({ what: 'requests' })
}
