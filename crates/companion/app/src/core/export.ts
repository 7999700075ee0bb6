// What a customer takes along: one file of text, in which everything verified before it was written.
import { offerOf, termsOf } from './rows.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import { toJson, type DescMessage, type JsonValue, type MessageShape } from '@bufbuild/protobuf'

import { RecordSchema } from '../gen/countersign/log/v1/record_pb.ts'
import { EventSchema } from '../gen/countersign/v1/event_service_pb.ts'
import { ReceiptSchema } from '../gen/countersign/v1/receipt_pb.ts'
import { base64, hex } from './bytes.ts'
import { type GrantRow } from './book.ts'
import type { Core } from './core.ts'
import { blame, envelopeFrom } from './envelope.ts'
import { misbehaved } from './errors.ts'
import { grantCode, listed } from './grants.ts'
import { learnLinks } from './links.ts'
import { proofFile } from './log.ts'
import { opens, prove } from './receipt.ts'
import { check, proofOf, tagOf } from './timeline.ts'
import { PAGE_SIZE } from './transport.ts'

const MOST_RECORDS = 1_000_000

const json = <D extends DescMessage>(schema: D, message: MessageShape<D>): JsonValue => toJson(schema, message, { useProtoFieldName: true })

/** As DSSE writes an envelope. */
function dsse(bytes: Uint8Array | undefined): JsonValue {
  if (!bytes) return null
  const { payloadType, payload, signatures } = envelopeFrom(bytes)
  return { payloadType, payload: base64(payload), signatures: signatures.map((one) => ({ keyid: one.keyId, sig: base64(one.signature) })) }
}

const grantJson = (row: GrantRow): JsonValue => ({
  name: row.name, source_link: row.sourceLink, recipient_link: row.recipientLink, terms: dsse(row.sourceTerms), recipient_terms: dsse(row.recipientTerms),
  offer: dsse(row.offer), changes: row.changes.map((one) => dsse(one.source)), recipient_changes: row.changes.map((one) => dsse(one.recipient)),
})

function file(parts: readonly string[]): Blob {
  return new Blob([...parts], { type: 'application/json' })
}

export async function exportAll(core: Core, progress: (done: number) => void = () => undefined): Promise<Blob> {
  core.monitor.check()
  // One gesture takes over what other devices linked, so that nothing of it is left out.
  await core.unlocked(({ root }) => learnLinks(core, root))
  const { fault } = await listed(core)
  if (fault) throw fault
  const links = (await core.book.links()).map((link) => ({
    name: link.name, partner: link.partner, identity: base64(link.identity), subject: link.subject, label: link.label, acceptance: dsse(link.acceptance),
    confirmed: link.confirmed, ended: link.ended,
  }))
  const head = {
    format: 'countersign-device-export', version: 1, customer: core.customer, origin: core.origin, log_verifier_key: core.trust.logKeyText,
    time: new Date(core.now()).toISOString(), links, grants: (await core.book.grants()).map(grantJson),
    // Nobody but the broker vouches for these.
    brokers_word: ['links.ended'],
  }
  const parts = [JSON.stringify(head).slice(0, -1), ',"events":[']
  let records = 0
  for (let pageToken = '', from = 0n; ; ) {
    const page = await core.client(EventService).listProvenEvents({ parent: core.customer, cursor: 0n, pageSize: PAGE_SIZE, pageToken })
    for (const { event, receipt, evidence } of page.events) {
      if (!event || !receipt || event.index < from || receipt.index !== event.index) throw misbehaved('broker', 'activity', 'order')
      from = event.index + 1n
      check(event, await tagOf(core, event.grant))
      try {
        const leaf = await prove(receipt, (note) => core.monitor.take(note, 'broker', 'receipt'))
        const { record } = leaf
        await opens(leaf, {
          ...(record.subjectCommitment.length > 0 && { subject: core.customer }), ...(record.fieldsCommitment.length > 0 && { fields: event.fields }),
          ...(record.evidenceCommitment.length > 0 && { evidence }),
        })
        const one = {
          index: String(event.index), event: json(EventSchema, event), record: json(RecordSchema, record), receipt: json(ReceiptSchema, receipt), evidence: evidence.map(hex),
          proof: proofFile(receipt.index, receipt.path, receipt.checkpoint, receipt.record),
        }
        parts.push(records === 0 ? '\n' : ',\n', JSON.stringify(one))
      } catch (thrown) {
        throw blame('broker', 'receipt', thrown)
      }
      records += 1
    }
    progress(records)
    if (page.nextPageToken === '') break
    if (records > MOST_RECORDS || page.events.length === 0) throw misbehaved('broker', 'activity', 'length')
    pageToken = page.nextPageToken
  }
  await core.monitor.refresh()
  parts.push(`\n],"records":${records}}\n`)
  return file(parts)
}

/** The plain copy of an approval, with what was signed and the proofs. */
export async function receiptFile(core: Core, rows: readonly GrantRow[]): Promise<Blob> {
  const grants = []
  for (const row of rows) {
    const terms = termsOf(row)
    const offer = offerOf(row)
    const text = offer?.texts.find((one) => one.language === terms.language)
    const proof = row.recorded === undefined ? '' : (await proofOf(core, { index: Number(row.recorded) })).file
    grants.push({
      code: grantCode(terms), source: terms.source, recipient: terms.recipient, fields: terms.fields, purpose: terms.purpose, uses: terms.uses,
      kept_seconds: Number(terms.retentionSeconds), approved: new Date(Number(terms.timeMs)).toISOString(), ends: new Date(Number(terms.expireTimeMs)).toISOString(),
      reason: text?.reason, benefit: text?.benefit, law: offer?.law, controller: offer?.controller, complaint_body: offer?.complaintBody, contact_phone: offer?.contactPhone,
      signed: grantJson(row), proof,
    })
  }
  const whole = { format: 'countersign-receipt', version: 1, origin: core.origin, log_verifier_key: core.trust.logKeyText, grants }
  return file([JSON.stringify(whole, undefined, 2)])
}
