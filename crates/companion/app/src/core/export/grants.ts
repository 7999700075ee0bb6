// Grants, with all that was signed about each, and a consent receipt of each. Nothing is signed here.
import { create } from '@bufbuild/protobuf'
import { TimestampSchema } from '@bufbuild/protobuf/wkt'

import { Kind } from '../../gen/countersign/log/v1/record_pb.ts'
import type { GrantTerms } from '../../gen/countersign/statement/v1/grant_pb.ts'
import type { Offer as OfferSaid } from '../../gen/countersign/statement/v1/partner_pb.ts'
import { CatalogueService } from '../../gen/countersign/v1/catalogue_service_pb.ts'
import { Grant_ErasureState as Erasure, GrantSchema, GrantService, type Grant } from '../../gen/countersign/v1/grant_service_pb.ts'
import { equal, hex, own, sha256, type Bytes } from '../bytes.ts'
import type { GrantRow } from '../book.ts'
import { opensParty } from '../checks.ts'
import type { Core } from '../core.ts'
import { blame, digestOf, envelopeFrom, verifyPartner } from '../envelope.ts'
import { Failed, misbehaved, type Party } from '../errors.ts'
import { erasureView, hear, reconcile } from '../grants.ts'
import { millis } from '../requests.ts'
import { termsOf } from '../rows.ts'
import { Acknowledgement, Offer, PartnerChange } from '../statements.ts'
import { allPages, PAGE_SIZE } from '../transport.ts'
import type { Absent } from './absent.ts'
import { receipt, type Happened } from './consent.ts'
import type { Past } from './events.ts'
import type { Files } from './files.ts'
import { document, dsse, List, message, type Json } from './json.ts'

const wrong = (check: string) => misbehaved('broker', 'grant', check)

export async function grants(core: Core, files: Files, past: ReadonlyMap<string, Past>, absent: Absent): Promise<number> {
  const before = new Map((await core.book.grants()).map((row) => [row.name, row]))
  const parent = core.customer
  const listed = await allPages(async (pageToken) => {
    const { grants: items, nextPageToken } = await core.client(GrantService).listGrants({ parent, pageSize: PAGE_SIZE, pageToken })
    return { items, nextPageToken }
  })
  const rows: { row: GrantRow; grant: Grant }[] = []
  for (const grant of listed) {
    const row = await reconcile(core, grant, before.get(grant.name))
    if (!row) throw wrong('terms')
    rows.push({ row, grant })
  }
  // A grant's end can rest on the terms of a later one: all of them are in the book by now.
  const book = await core.book.grants()
  const list = new List()
  const catalogues = new Set<string>()
  for (const { row, grant } of rows) {
    const terms = termsOf(row)
    const { offer, byPartners } = await verified(core, row, terms, grant)
    const renewals = book.filter((one) => equal(termsOf(one).previous, row.digest)).map((one) => one.digest)
    const happened = whatHappened(row, terms, past.get(hex(terms.logTag)), byPartners, renewals)
    const catalogue = await core.catalogue(terms.catalogueVersion)
    const version = hex(terms.catalogueVersion)
    if (!catalogues.has(version)) {
      catalogues.add(version)
      files.add(`catalogues/${version}.toml`, await documentOf(core, version))
    }
    const consent = `consents/${hex(row.digest)}.jsonld`
    files.add(consent, document(receipt({ origin: core.origin, customer: core.customer, grant: row.name, terms, offer, catalogue, happened, now: BigInt(core.now()) })))
    list.add(element(row, grant, consent))
    await absent.written(
      grant.terms, grant.offer, grant.erasureAttestation, ...grant.changes, ...grant.acknowledgements.map((one) => one.statement),
      ...grant.partnerChanges.map((one) => one.statement),
    )
  }
  files.add('grants.json', list.bytes())
  return list.length
}

async function documentOf(core: Core, version: string): Promise<Bytes> {
  const kept = await core.store.get<Bytes>('seen', `catalogues/${version}`)
  const found = kept ?? own((await core.client(CatalogueService).getCatalogue({ name: `catalogues/${version}` })).document)
  if (hex(await sha256(found)) !== version) throw misbehaved('broker', 'catalogue', 'version')
  return found
}

function element(row: GrantRow, grant: Grant, consent: string): Json {
  const signed = (bytes: Bytes | undefined) => (bytes ? dsse(envelopeFrom(bytes)) : null)
  return {
    grant: message(GrantSchema, grant), recipient_terms: signed(row.recipientTerms),
    recipient_changes: row.changes.slice(0, grant.changes.length).map((one) => signed(one.recipient)),
    source_link: row.sourceLink, recipient_link: row.recipientLink, consent,
  }
}

/** Whether all is as it was signed that is said of a grant and does not rest on the broker's word alone. Where an order to delete stands is written by what was signed. */
async function verified(core: Core, row: GrantRow, terms: GrantTerms, grant: Grant): Promise<{ offer: OfferSaid; byPartners: Bytes[] }> {
  agrees(terms, grant)
  const link = await core.book.link(row.recipientLink)
  if (!link || !(await opensParty(terms.recipientCommitment, grant.recipientSalt, link.acceptanceDigest))) throw wrong('recipient_salt')
  const shown = await Promise.all(grant.changes.map(digestOf))
  if (!shown.every((digest, at) => row.changes[at] && equal(row.changes[at].digest, digest))) throw wrong('changes')
  for (const one of grant.acknowledgements) {
    const [who, identity] = side(terms, one.partner)
    const { said } = await verifyPartner(Acknowledgement, one.statement, one.partnerKey, identity, who, core.origin).catch((thrown) => Promise.reject(blame(who, 'acknowledgement', thrown)))
    if (said.partner !== who) throw misbehaved(who, 'acknowledgement', 'partner')
    if (!equal(said.statement, row.digest) && !row.changes.some(({ digest }) => equal(digest, said.statement))) throw misbehaved('broker', 'acknowledgement', 'statement')
    await core.head(said.checkpoint, who, 'acknowledgement')
  }
  const byPartners = await partnerChanges(core, row, terms, grant)
  const told = await hear(core, row, grant)
  if (told.fault) throw new Failed(told.fault)
  const erasure = await erasureView(core, row, told)
  if (!erasure && (grant.erasureAttestation || grant.erasureAttestationKey)) throw wrong('erasure_attestation')
  grant.erasureState = !erasure ? Erasure.UNSPECIFIED : erasure.attestedAt !== undefined ? Erasure.ATTESTED : erasure.overdue ? Erasure.OVERDUE : Erasure.DUE
  if (erasure) grant.eraseDueTime = create(TimestampSchema, { seconds: BigInt(Math.floor(erasure.due / 1000)), nanos: (erasure.due % 1000) * 1_000_000 })
  else delete grant.eraseDueTime
  const recipient = terms.recipient as Party
  const offer = await verifyPartner(Offer, grant.offer, grant.offerKey, terms.recipientIdentity, terms.recipient, core.origin).catch((thrown) => Promise.reject(blame(recipient, 'offer', thrown)))
  if (!equal(offer.digest, terms.offer)) throw wrong('offer')
  return { offer: offer.said, byPartners }
}

/** The changes of source and recipient, each partner's in one chain without a gap. */
async function partnerChanges(core: Core, row: GrantRow, terms: GrantTerms, grant: Grant): Promise<Bytes[]> {
  const newest = new Map<string, { sequence: bigint; digest: Uint8Array }>()
  const all: Bytes[] = []
  for (const one of grant.partnerChanges) {
    const [who, identity] = side(terms, one.partner)
    const { said, digest } = await verifyPartner(PartnerChange, one.statement, one.partnerKey, identity, who, core.origin).catch((thrown) => Promise.reject(blame(who, 'partner_change', thrown)))
    const before = newest.get(who) ?? { sequence: 0n, digest: row.digest }
    if (!equal(said.terms, row.digest)) throw misbehaved(who, 'partner_change', 'terms')
    if (said.partner !== who || said.sequence !== before.sequence + 1n || !equal(said.previous, before.digest)) throw misbehaved('broker', 'partner_change', 'sequence')
    await core.head(said.checkpoint, who, 'partner_change')
    newest.set(who, { sequence: said.sequence, digest })
    all.push(digest)
  }
  return all
}

function side(terms: GrantTerms, partner: string): [Party, Uint8Array] {
  if (partner === terms.source) return [partner as Party, terms.sourceIdentity]
  if (partner === terms.recipient) return [partner as Party, terms.recipientIdentity]
  throw wrong('partner')
}

/** Whether what is said of a grant beside its terms is what the terms say. */
function agrees(terms: GrantTerms, grant: Grant): void {
  const checks: [string, boolean][] = [
    ['source', grant.source === terms.source], ['recipient', grant.recipient === terms.recipient],
    ['subject', grant.subject === '' && grant.partySalt.length === 0], ['purpose', grant.purpose === terms.purpose],
    ['fields', grant.fields.join() === terms.fields.join()], ['use_limit', grant.useLimit === terms.uses],
    ['expire_time', millis(grant.expireTime) === Number(terms.expireTimeMs)], ['request', grant.request === `grantRequests/${hex(terms.request)}`],
    ['previous', grant.previous === (terms.previous.length > 0 ? `grants/${hex(terms.previous)}` : '')],
  ]
  for (const [check, good] of checks) if (!good) throw wrong(check)
}

const BY_HER: readonly Kind[] = [Kind.GRANT_PAUSED, Kind.GRANT_RESUMED, Kind.GRANT_WITHDRAWN]
const BY_PARTNERS: readonly Kind[] = [Kind.GRANT_SUSPENDED, Kind.GRANT_UNSUSPENDED, Kind.GRANT_REVOKED]

/** What changed the grant's standing, oldest first, each by a statement that verified; and the use that was the last. */
function whatHappened(row: GrantRow, terms: GrantTerms, past: Past | undefined, byPartners: readonly Bytes[], renewals: readonly Bytes[]): Happened[] {
  const own = row.changes.map(({ digest }) => digest)
  for (const { kind, restsOn } of past?.changes ?? []) {
    const among = (all: readonly Uint8Array[]) => restsOn !== undefined && all.some((one) => equal(one, restsOn))
    const good = BY_HER.includes(kind) ? among(own) : kind === Kind.GRANT_SUPERSEDED ? among(own) || among(renewals) : BY_PARTNERS.includes(kind) ? among(byPartners) : true
    if (!good) throw misbehaved('broker', 'event', 'evidence')
  }
  const spent = past?.lastUse && past.lastUse.number >= BigInt(terms.uses) ? [past.lastUse] : []
  return [...(past?.changes ?? []), ...spent].sort((a, b) => (a.index < b.index ? -1 : 1))
}
