// What a customer takes along: everything about her as one file, the folder of `docs/export.md` in a zip; and the plain copy of an
// approval. Everything verified before it is written.
import { base64 } from './bytes.ts'
import type { GrantRow } from './book.ts'
import type { Core } from './core.ts'
import { envelopeFrom } from './envelope.ts'
import { Absent } from './export/absent.ts'
import { records } from './export/events.ts'
import { Files } from './export/files.ts'
import { grants } from './export/grants.ts'
import { document, moment } from './export/json.ts'
import { customer, links, requests } from './export/lists.ts'
import { BROKERS_WORD } from './export/word.ts'
import { grantCode, listed } from './grants.ts'
import { learnLinks } from './links.ts'
import { offerOf, termsOf } from './rows.ts'
import { proofOf } from './timeline.ts'

const VERSION = 2
/** The folder in the zip. */
export const FOLDER = 'countersign-export'

export async function exportAll(core: Core, progress: (done: number) => void = () => undefined): Promise<Blob> {
  core.monitor.check()
  // One gesture takes over what other devices linked, so that nothing of it is left out.
  await core.unlocked(({ root }) => learnLinks(core, root))
  const { fault } = await listed(core)
  if (fault) throw fault
  const [files, absent] = [new Files(), new Absent()]
  // Records come first: what they rest on was there before them, and is in what is listed after them.
  const { past, count } = await records(core, files, absent, progress)
  await customer(core, files, absent)
  const counts = { links: await links(core, files, absent), requests: await requests(core, files, absent), grants: await grants(core, files, past, absent), records: count }
  files.add('absent.json', absent.list().bytes())
  await core.monitor.refresh()
  const now = core.now()
  const manifest = {
    format: 'countersign-export', version: VERSION, customer: core.customer, origin: core.origin, log_verifier_key: core.trust.logKeyText, time: moment(BigInt(now)),
    ...counts, brokers_word: BROKERS_WORD,
  }
  files.add('manifest.json', document(manifest))
  return files.zip(FOLDER, now)
}

/** As DSSE writes an envelope, without what it says. */
function dsse(bytes: Uint8Array | undefined) {
  if (!bytes) return null
  const { payloadType, payload, signatures } = envelopeFrom(bytes)
  return { payloadType, payload: base64(payload), signatures: signatures.map((one) => ({ keyid: one.keyId, sig: base64(one.signature) })) }
}

const signedOf = (row: GrantRow) => ({
  name: row.name, source_link: row.sourceLink, recipient_link: row.recipientLink, terms: dsse(row.sourceTerms), recipient_terms: dsse(row.recipientTerms),
  offer: dsse(row.offer), changes: row.changes.map((one) => dsse(one.source)), recipient_changes: row.changes.map((one) => dsse(one.recipient)),
})

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
      signed: signedOf(row), proof,
    })
  }
  const whole = { format: 'countersign-receipt', version: 1, origin: core.origin, log_verifier_key: core.trust.logKeyText, grants }
  return new Blob([JSON.stringify(whole, undefined, 2)], { type: 'application/json' })
}
