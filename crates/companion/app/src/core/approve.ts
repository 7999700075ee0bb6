// Approving (protocol, section 8): one set of terms a row, bound whole and signed twice. What is signed is made of the very object
// that the row was drawn from.
import { offerOf, termsOf } from './rows.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import type { MessageInitShape } from '@bufbuild/protobuf'

import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import type { GrantTermsSchema } from '../gen/countersign/statement/v1/grant_pb.ts'
import { equal, random, type Bytes } from './bytes.ts'
import { type GrantRow, type LinkRow } from './book.ts'
import { offered, partyCommitment, termsWithin } from './checks.ts'
import type { Core } from './core.ts'
import { encode, envelopeBytes, named, sign, verify, type Envelope } from './envelope.ts'
import { Failed, fail, misbehaved, type Party } from './errors.ts'
import { linkKey, type Deriving } from './hkdf.ts'
import { findApproval, grantCode, lookUp, proofOfRow } from './grants.ts'
import { behind, linksOf, type ReadRequest, type ReadRow } from './requests.ts'
import { GrantTerms } from './statements.ts'
import { again, toFailed } from './transport.ts'
import type { Choice, ChosenRow, Name, ReceiptRow, ReceiptView, RequestView } from './types.ts'
import { brand, fieldView, rateView, termsView } from './views.ts'

type TermsInit = MessageInitShape<typeof GrantTermsSchema>

const malformed = (check: string): never => fail({ kind: 'malformed', what: 'choice', check })

/** What a row is cut down to. One place decides it, for the screen and for the signature. */
interface Cut {
  row: ReadRow
  fields: string[]
  uses: number
  retentionSeconds: bigint
  durationSeconds: bigint
}

function cuts(request: ReadRequest, choice: Choice): Cut[] {
  const numbers = [...choice.rows, ...Object.keys(choice.changed ?? {}).map(Number)]
  if (!numbers.every((number) => request.rows.some((row) => row.number === number))) malformed('row')
  const taken = request.rows.filter((row) => !row.optional || choice.rows.includes(row.number))
  if (taken.length === 0) malformed('rows')
  return taken.map((row) => {
    const offer = row.offer.said
    const { fields = [], uses = offer.uses, retentionSeconds, durationSeconds } = choice.changed?.[row.number] ?? {}
    if (!fields.every((field) => offered(offer).includes(field))) malformed('field')
    const cut: Cut = {
      row, uses,
      fields: offered(offer).filter((field) => offer.requiredFields.includes(field) || fields.includes(field)),
      retentionSeconds: retentionSeconds === undefined ? offer.retentionSeconds : BigInt(retentionSeconds),
      durationSeconds: durationSeconds === undefined ? offer.durationSeconds : BigInt(durationSeconds),
    }
    const within = Number.isInteger(uses) && uses >= 1 && uses <= offer.uses && cut.retentionSeconds >= 0n && cut.retentionSeconds <= offer.retentionSeconds
      && cut.durationSeconds >= 1n && cut.durationSeconds <= offer.durationSeconds
    return within ? cut : malformed('widened')
  })
}

export function choose(core: Core, view: RequestView, choice: Choice): ChosenRow[] {
  return cuts(behind(view), choice).map(({ row, fields, uses, retentionSeconds, durationSeconds }) => ({
    number: row.number,
    fields: fields.map((path) => fieldView(core, row.catalogue, path)),
    uses,
    ...rateView(row.offer.said.rate),
    retentionSeconds: Number(retentionSeconds),
    expires: core.now() + Number(durationSeconds) * 1000,
  }))
}

interface Draft {
  cut: Cut
  name: Name
  digest: Bytes
  source: Envelope
  recipient: Envelope
  salts: { source: Bytes; recipient: Bytes }
  links: { source: LinkRow; recipient: LinkRow }
}

export async function approve(core: Core, view: RequestView, choice: Choice): Promise<ReceiptView> {
  core.monitor.check()
  const request = behind(view)
  const chosen = cuts(request, choice)
  const linked = await Promise.all(chosen.map((cut) => linkedNow(core, request, cut.row)))
  // One gesture signs every row, and is over before anything leaves.
  const drafts = await core.unlocked(({ root }) => Promise.all(chosen.map((cut, at) => draft(core, request, cut, linked[at]!, root))))
  for (const one of drafts) {
    await core.book.enterGrant({
      name: one.name, digest: one.digest, sourceLink: one.links.source.name, recipientLink: one.links.recipient.name,
      sourceTerms: envelopeBytes(one.source), recipientTerms: envelopeBytes(one.recipient), salts: one.salts, offer: envelopeBytes(one.cut.row.offer.envelope),
    })
  }
  const rows = drafts.map(({ links, source, recipient, salts }) => ({
    sourceLink: links.source.name, recipientLink: links.recipient.name, sourceTerms: source, recipientTerms: recipient,
    sourceSalt: salts.source, recipientSalt: salts.recipient,
  }))
  let answer
  try {
    answer = await again(() => core.client(GrantService).approveGrantRequest({ name: request.name, rows }))
  } catch (thrown) {
    throw await doubt(core, drafts, toFailed(thrown))
  }
  if (answer.receipts.length !== drafts.length) throw misbehaved('broker', 'approval', 'receipts')
  for (const [at, one] of drafts.entries()) {
    const row = await core.book.mustHave(one.name)
    const terms = termsOf(row)
    const leaf = await core.proven(answer.receipts[at], core.saying(terms, { kinds: [Kind.GRANT_APPROVED], since: terms.timeMs, fields: terms.fields, evidence: [one.digest] }))
    await core.book.changeGrant(one.name, (before) => ({ ...before, recorded: leaf.index, shown: true, refused: false }))
  }
  core.tell({ what: 'requests' })
  core.tell({ what: 'grants' })
  return receiptOf(core, request.name, drafts.map((one) => one.name))
}

/** A link may stand by now that did not when the request was read. */
async function linkedNow(core: Core, request: ReadRequest, row: ReadRow): Promise<Draft['links']> {
  let [source, recipient] = await linksOf(core, row.offer.said, request.link)
  if (row.renews) {
    const old = await core.book.mustHave(row.renews.name)
    source = await core.book.link(old.sourceLink)
    recipient = await core.book.link(old.recipientLink)
  }
  if (!source || !recipient) return fail({ kind: 'notNow', name: request.name, problem: 'notLinked' })
  // An offer of a partner that was not linked yet was read under the identity that it names itself.
  if (!equal(recipient.identity, row.offer.said.recipientIdentity)) throw misbehaved(recipient.partner as Party, 'offer', 'recipient_identity')
  return { source, recipient }
}

async function draft(core: Core, request: ReadRequest, cut: Cut, links: Draft['links'], root: Deriving): Promise<Draft> {
  const offer = cut.row.offer.said
  const salts = { source: random(32), recipient: random(32) }
  const now = BigInt(core.now())
  const message: TermsInit = {
    broker: core.origin,
    source: offer.source, sourceIdentity: links.source.identity,
    recipient: offer.recipient, recipientIdentity: links.recipient.identity,
    sourceCommitment: await partyCommitment(salts.source, links.source.acceptanceDigest),
    recipientCommitment: await partyCommitment(salts.recipient, links.recipient.acceptanceDigest),
    request: request.digest, offer: cut.row.offer.digest, catalogueVersion: offer.catalogueVersion,
    language: cut.row.language,
    purpose: offer.purpose, fields: cut.fields, uses: cut.uses, ...(offer.rate && { rate: offer.rate }),
    retentionSeconds: cut.retentionSeconds, expireTimeMs: now + cut.durationSeconds * 1000n,
    logTag: random(32), timeMs: now, ...(cut.row.renews && { previous: cut.row.renews.digest }),
  }
  const { source, recipient, digest, said } = await signTwice(core, message, links, root)
  // What a partner would refuse must not leave: an offer that contradicts itself shows here.
  const outside = termsWithin(said, offer, cut.row.offer.digest)
  if (outside) throw misbehaved(offer.recipient as Party, 'offer', outside)
  return { cut, name: named('grants', digest), digest, source, recipient, salts, links }
}

/** The same payload, once with the key of each link. */
export async function signTwice(core: Core, message: TermsInit, links: Draft['links'], root: Deriving) {
  const [sourceKey, recipientKey] = [await linkKey(root, links.source.invitation), await linkKey(root, links.recipient.invitation)]
  const source = await sign(GrantTerms, message, [sourceKey])
  const signed = await verify(GrantTerms, source, [sourceKey], core.origin)
  const recipient = await sign(GrantTerms, signed.said, [recipientKey])
  if (!equal(encode(GrantTerms, signed.said), recipient.payload)) throw new Error('one payload is signed twice')
  return { source, recipient, digest: signed.digest, said: signed.said }
}

/** What was signed stays in the book. Marks as refused what the broker, asked once more, says there is not. */
async function doubt(core: Core, drafts: readonly Draft[], refusal: Failed): Promise<Failed> {
  if (!refusal.no) return refusal
  for (const { name } of drafts) {
    try {
      if (await lookUp(core, name)) return misbehaved('broker', 'approval', 'refusal')
      await core.book.changeGrant(name, (row) => ({ ...row, refused: true }))
    } catch (thrown) {
      // No word: it stays like one without an answer.
      if (!(thrown instanceof Failed) || thrown.halts) throw thrown
    }
  }
  return refusal
}

/** The receipt of an approval that was given before, on this device. */
export async function receipt(core: Core, request: Name): Promise<ReceiptView> {
  const rows = (await core.book.grants()).filter((row) => named('grantRequests', termsOf(row).request) === request && !row.refused && termsOf(row).previous.length === 0)
  if (rows.length === 0) return fail({ kind: 'notNow', name: request, problem: 'unknown' })
  return receiptOf(core, request, rows.map((row) => row.name))
}

async function receiptOf(core: Core, request: Name, names: readonly Name[]): Promise<ReceiptView> {
  const rows: { row: GrantRow; view: ReceiptRow }[] = []
  for (const name of names) {
    const row = await findApproval(core, await core.book.mustHave(name))
    const terms = termsOf(row)
    const offer = offerOf(row) ?? fail({ kind: 'notNow', name, problem: 'unknown' })
    const catalogue = await core.catalogue(terms.catalogueVersion)
    rows.push({
      row,
      view: {
        grant: name, code: grantCode(terms), terms: await termsView(core, offer, catalogue, terms),
        fields: terms.fields.map((path) => fieldView(core, catalogue, path)), expires: Number(terms.expireTimeMs), proof: proofOfRow(row) ?? { index: -1 },
      },
    })
  }
  const requester = rows.find(({ row }) => offerOf(row))
  const first = rows[0]!.row
  return {
    request, approvedAt: Number(termsOf(first).timeMs), rows: rows.map(({ view }) => view),
    requester: await brand(core, requester ? offerOf(requester.row)!.recipient : termsOf(first).recipient),
    file: async () => {
      const { receiptFile } = await import('./export.ts')
      return receiptFile(core, rows.map(({ row }) => row))
    },
  }
}
