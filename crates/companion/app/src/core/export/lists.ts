// The customer, what opens her keys, links, and requests, with those that were never put before her.
import type { Message } from '@bufbuild/protobuf'

import { CustomerSchema, CustomerService } from '../../gen/countersign/v1/customer_service_pb.ts'
import {
  GrantRequestSchema, GrantService, ListGrantRequestsRequest_View as View, type GrantRequest as Wire,
} from '../../gen/countersign/v1/grant_service_pb.ts'
import { LinkSchema, LinkService, type Link } from '../../gen/countersign/v1/link_service_pb.ts'
import { equal, hex } from '../bytes.ts'
import type { LinkRow } from '../book.ts'
import { Identity } from '../checks.ts'
import type { Core } from '../core.ts'
import { blame, named, peek, verify, verifyPartner, type Envelope, type Signed } from '../envelope.ts'
import { misbehaved, type Party } from '../errors.ts'
import { keyOf } from '../links.ts'
import { isRequest } from '../names.ts'
import { millis, verifyOffer } from '../requests.ts'
import { identity } from '../settings.ts'
import { CustomerChangeKind, GrantRequest, LinkAcceptance, LinkConfirmation, LinkInvitation, type Kind } from '../statements.ts'
import { allPages, PAGE_SIZE } from '../transport.ts'
import type { Absent } from './absent.ts'
import type { Files } from './files.ts'
import { document, dsse, List, message } from './json.ts'

const wrong = (what: string, check: string) => misbehaved('broker', what, check)

export async function customer(core: Core, files: Files, absent: Absent): Promise<void> {
  const shown = await core.client(CustomerService).getCustomer({ name: core.customer })
  if (shown.name !== core.customer) throw wrong('customer', 'name')
  if (!equal(shown.publicKey, core.callKey.bytes)) throw wrong('customer', 'public_key')
  files.add('customer.json', document(message(CustomerSchema, shown)))
  const known = await identity(core)
  const parent = core.customer
  const changes = await allPages(async (pageToken) => {
    const { changes: items, nextPageToken } = await core.client(CustomerService).listCustomerChanges({ parent, pageSize: PAGE_SIZE, pageToken })
    return { items, nextPageToken }
  })
  const found = new Identity(parent)
  const labels: Record<string, string> = {}
  for (const change of changes) {
    const { said, digest } = await verify(CustomerChangeKind, change, [core.callKey], core.origin).catch((thrown) => Promise.reject(blame('broker', 'authenticators', thrown)))
    const check = found.take(said, digest)
    if (check) throw wrong('authenticators', check)
    const label = await core.store.get<{ label: string }>('meta', `label/${hex(said.authenticator)}`)
    if (label) labels[hex(said.authenticator)] = label.label
  }
  if (found.sequence < known.sequence) throw wrong('authenticators', 'sequence')
  await absent.written(...changes)
  files.add('devices.json', document({ changes: changes.map(dsse), labels }))
}

export async function links(core: Core, files: Files, absent: Absent): Promise<number> {
  const parent = core.customer
  const listed = await allPages(async (pageToken) => {
    const { links: items, nextPageToken } = await core.client(LinkService).listLinks({ parent, pageSize: PAGE_SIZE, pageToken })
    return { items, nextPageToken }
  })
  const list = new List()
  for (const link of listed) {
    const row = (await core.book.link(link.name)) ?? fail()
    await verifyLink(core, row, link)
    list.add({ link: message(LinkSchema, link), label: row.label, confirmed: row.confirmed })
    await absent.written(link.invitation, link.acceptance, link.confirmation)
  }
  files.add('links.json', list.bytes())
  return list.length
}

/** It came while the others were read: the next export has it. */
const fail = (): never => {
  throw wrong('link', 'unknown')
}

async function verifyLink(core: Core, row: LinkRow, link: Link): Promise<void> {
  const { said, digest } = await certified(core, LinkInvitation, 'invitation', link.invitation, link.partnerKeys, row)
  if (named('links', digest) !== row.name) throw wrong('link', 'name')
  const acceptance = await verify(LinkAcceptance, link.acceptance, [await keyOf(row)], core.origin).catch((thrown) => Promise.reject(blame('broker', 'acceptance', thrown)))
  if (!equal(acceptance.digest, row.acceptanceDigest)) throw wrong('link', 'acceptance')
  if (row.confirmed || link.confirmation) {
    const confirmed = await certified(core, LinkConfirmation, 'confirmation', link.confirmation, link.partnerKeys, row)
    if (confirmed.said.partner !== row.partner || !equal(confirmed.said.acceptance, row.acceptanceDigest)) throw wrong('confirmation', 'acceptance')
    await core.head(confirmed.said.checkpoint, row.partner, 'confirmation')
  }
  if (link.partner !== said.partner) throw wrong('link', 'partner')
  if (link.subject !== said.subject) throw wrong('link', 'subject')
  if (millis(link.expireTime) !== Number(said.expireTimeMs)) throw wrong('link', 'expire_time')
}

/** Under one of the certificates that came along, in no order that matters; and each of these is the partner's. */
async function certified<M extends Message & { broker: string; timeMs: bigint }>(
  core: Core, kind: Kind<M>, what: string, statement: Envelope | undefined, certificates: readonly Envelope[], row: LinkRow,
): Promise<Signed<M>> {
  let last: unknown = wrong(what, 'partner_key')
  for (const certificate of certificates) {
    try {
      return await verifyPartner(kind, statement, certificate, row.identity, row.partner, core.origin)
    } catch (thrown) {
      last = thrown
    }
  }
  throw blame(row.partner as Party, what, last)
}

export async function requests(core: Core, files: Files, absent: Absent): Promise<number> {
  const list = new List()
  const written = new Set<string>()
  // In an order in which a request that goes from one to another while they are read is met in the later one.
  for (const view of [View.WAITING, View.NEVER_SHOWN, View.UNSPECIFIED]) {
    const parent = core.customer
    const listed = await allPages(async (pageToken) => {
      const { grantRequests: items, nextPageToken } = await core.client(GrantService).listGrantRequests({ parent, pageSize: PAGE_SIZE, pageToken, view })
      return { items, nextPageToken }
    })
    for (const request of listed) {
      const link = await verifyRequest(core, request)
      if (written.has(request.name)) continue
      written.add(request.name)
      list.add({ request: message(GrantRequestSchema, request), link: link.name, shown: request.shownTime !== undefined })
      await absent.written(request.statement, ...request.offers.map((offer) => offer.statement))
    }
  }
  files.add('requests.json', list.bytes())
  return list.length
}

async function verifyRequest(core: Core, request: Wire): Promise<LinkRow> {
  const claimed = await peek(GrantRequest, request.statement).catch((thrown) => Promise.reject(blame('broker', 'request', thrown)))
  const link = await core.book.linkOf(claimed.subject)
  if (!link) throw wrong('request', 'subject')
  const { said, digest } = await verifyPartner(GrantRequest, request.statement, request.partnerKey, link.identity, link.partner, core.origin)
    .catch((thrown) => Promise.reject(blame(link.partner as Party, 'request', thrown)))
  if (!isRequest(request.name) || named('grantRequests', digest) !== request.name) throw wrong('request', 'name')
  if (request.offers.length !== said.rows.length) throw wrong('request', 'offers')
  await core.head(said.checkpoint, link.partner, 'request')
  for (const [at, row] of said.rows.entries()) await verifyOffer(core, row.offer, request.offers[at]!, link)
  if (request.requester !== said.requester) throw wrong('request', 'requester')
  if (millis(request.expireTime) !== Number(said.expireTimeMs)) throw wrong('request', 'expire_time')
  return link
}
