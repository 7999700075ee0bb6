// Looking at what would leave, before the answer (protocol, section 8), and the tap by which a precise location leaves (section 10).
import { newest, termsOf } from './rows.ts'
import { TransferService } from '../gen/countersign/v1/transfer_service_pb.ts'
import { fromBinary } from '@bufbuild/protobuf'

import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { SealedFieldsSchema, type SealedFields } from '../gen/countersign/statement/v1/transfer_pb.ts'
import type { PreviewDataResponse } from '../gen/countersign/v1/transfer_service_pb.ts'
import { equal, fromUtf8, own, sha256 } from './bytes.ts'
import { type LinkRow } from './book.ts'
import { checkPreviewed, comparisonMark, inOrder, offered } from './checks.ts'
import { SKEW_MS, type Core } from './core.ts'
import { blame, sign, verify, verifyPartner, type Signed } from './envelope.ts'
import { fail, misbehaved, type Party } from './errors.ts'
import { linkKey } from './hkdf.ts'
import { needsTap } from './names.ts'
import { opens } from './receipt.ts'
import { behind, linksOf, type ReadRow } from './requests.ts'
import { drawOpeningKey, open, previewInfo } from './sealing.ts'
import { LocationTap, Preview, PreviewProvision, TAP_LIFE_MS } from './statements.ts'
import type { Preview as Said } from '../gen/countersign/statement/v1/transfer_pb.ts'
import { again } from './transport.ts'
import type { FieldPath, Name, PreviewView, RequestView } from './types.ts'
import { fieldView } from './views.ts'

const COMPARISON_KEY_BYTES = 32

export async function preview(core: Core, view: RequestView, number: number, chosen: readonly FieldPath[] = []): Promise<PreviewView> {
  core.monitor.check()
  const request = behind(view)
  const row = request.rows.find((one) => one.number === number) ?? fail({ kind: 'malformed', what: 'choice', check: 'row' })
  const offer = row.offer.said
  if (!chosen.every((field) => offered(offer).includes(field))) fail({ kind: 'malformed', what: 'choice', check: 'field' })
  const wanted = inOrder(offer, [...offer.requiredFields, ...chosen])
  const fields = wanted.filter((field) => !needsTap(field))
  const onTap = wanted.filter(needsTap).map((path) => fieldView(core, row.catalogue, path))
  if (fields.length === 0) return fail({ kind: 'notNow', name: request.name, problem: 'nothing' })
  const link = (row.renews ? row.sourceLink : (await linksOf(core, offer, request.link))[0]) ?? fail({ kind: 'notNow', name: request.name, problem: 'notLinked' })
  const key = await drawOpeningKey()
  const message = {
    broker: core.origin, acceptance: link.acceptanceDigest, request: request.digest, offer: row.offer.digest, fields, requestId: crypto.randomUUID(),
    timeMs: BigInt(core.now()), sealingKey: key.public,
  }
  const signed = await core.unlocked(async ({ root }) => {
    const signer = await linkKey(root, link.invitation)
    return verify(Preview, await sign(Preview, message, [signer]), [signer], core.origin)
  })
  const answer = await again(() => core.client(TransferService).previewData({ sourceLink: link.name, statement: signed.envelope }))
  const { sealed, index } = await verifyPreview(core, row, link, signed, answer)
  const wrong = (check: string) => misbehaved(link.partner as Party, 'sealed_fields', check)
  const values = await open(key, sealed, previewInfo(signed.digest, fields))
  const comparisonKey = values?.pop()
  if (!values || !comparisonKey) throw wrong('open')
  if (comparisonKey.length !== COMPARISON_KEY_BYTES) throw wrong('comparison_key')
  // Of the values stays here what tells whether they change, and no more.
  const marks = await Promise.all(fields.map(async (field, at) => ({ field, mac: await comparisonMark(comparisonKey, field, values[at]!) })))
  const at = core.now()
  await core.book.enterPreview({ digest: signed.digest, request: own(request.digest), offer: row.offer.digest, at, marks })
  return {
    row: number, onTap, at, proof: { index: Number(index) },
    values: fields.map((path, place) => ({ field: fieldView(core, row.catalogue, path), value: shown(values[place]!) })),
  }
}

function shown(value: Uint8Array): string {
  try {
    return fromUtf8(value)
  } catch {
    return '\ufffd'
  }
}

/** The source's key by its pinned identity, what it signed, the proof, and that the leaf says what happened. */
async function verifyPreview(core: Core, row: ReadRow, link: LinkRow, asked: Signed<Said>, answer: PreviewDataResponse): Promise<{ sealed: SealedFields; index: bigint }> {
  const source = link.partner as Party
  const provision = await verifyPartner(PreviewProvision, answer.provision, answer.sourceKey, link.identity, link.partner, core.origin)
    .catch((thrown) => Promise.reject(blame(source, 'preview_provision', thrown)))
  const { said } = provision
  const wrong = (check: string) => misbehaved(source, 'preview_provision', check)
  if (said.source !== link.partner) throw wrong('source')
  if (!equal(said.preview, asked.digest)) throw wrong('preview')
  if (!equal(said.sealed, await sha256(answer.sealedFields))) throw wrong('sealed')
  if (Math.abs(Number(said.timeMs) - core.now()) > SKEW_MS) throw wrong('time_ms')
  let sealed: SealedFields
  try {
    sealed = fromBinary(SealedFieldsSchema, answer.sealedFields)
  } catch {
    throw wrong('sealed_fields')
  }
  if (checkPreviewed(asked.said, sealed)) throw wrong('fields')
  await core.head(said.checkpoint, link.partner, 'preview_provision')
  const leaf = await core.proven(answer.receipt)
  const { record } = leaf
  const offer = row.offer.said
  const checks: [string, boolean][] = [
    ['kind', record.kind === Kind.PREVIEWED],
    ['source', record.source === offer.source],
    ['recipient', record.recipient === ''],
    ['purpose', record.purpose === offer.purpose],
    ['catalogue_version', equal(record.catalogueVersion, offer.catalogueVersion)],
    ['grant_tag', record.grantTag.length === 0],
    ['time', Math.abs(Number(record.timeMs) - core.now()) <= SKEW_MS],
  ]
  for (const [check, good] of checks) if (!good) throw misbehaved('broker', 'receipt', check)
  await opens(leaf, { subject: core.customer, fields: asked.said.fields, evidence: [asked.said.request, asked.said.offer, asked.digest, provision.digest] })
    .catch((thrown) => Promise.reject(blame('broker', 'receipt', thrown)))
  return { sealed, index: leaf.index }
}

/** Leave for one fetch of a precise location. To be called when the person taps, and at no other time. */
export async function tap(core: Core, name: Name): Promise<{ expires: number }> {
  core.monitor.check()
  const row = await newest(core.book, name)
  const terms = termsOf(row)
  const fields = terms.fields.filter(needsTap)
  if (fields.length === 0) fail({ kind: 'notNow', name, problem: 'noTap' })
  const [sourceLink, recipientLink] = [await core.book.link(row.sourceLink), await core.book.link(row.recipientLink)]
  if (!sourceLink || !recipientLink) return fail({ kind: 'storage', problem: 'damaged' })
  const now = BigInt(core.now())
  const message = { broker: core.origin, terms: row.digest, fields, requestId: crypto.randomUUID(), timeMs: now, expireTimeMs: now + TAP_LIFE_MS }
  const { source, recipient } = await core.unlocked(async ({ root }) => {
    const signer = await linkKey(root, sourceLink.invitation)
    return {
      source: await verify(LocationTap, await sign(LocationTap, message, [signer]), [signer], core.origin),
      recipient: await sign(LocationTap, message, [await linkKey(root, recipientLink.invitation)]),
    }
  })
  const { receipt } = await again(() => core.client(TransferService).tapLocation({ name: row.name, sourceTap: source.envelope, recipientTap: recipient }))
  await core.proven(receipt, core.saying(terms, { kinds: [Kind.LOCATION_TAPPED], since: now, fields, evidence: [source.digest] }))
  core.tell({ what: 'timeline' })
  return { expires: Number(message.expireTimeMs) }
}
