// The records that concern the customer, each with its proof, and what they say of each grant.
import { Kind, RecordSchema, type Record as Leaf } from '../../gen/countersign/log/v1/record_pb.ts'
import { EventSchema, EventService, KeptStatementSchema, type ProvenEvent } from '../../gen/countersign/v1/event_service_pb.ts'
import { ReceiptSchema } from '../../gen/countersign/v1/receipt_pb.ts'
import { equal, hex, utf8 } from '../bytes.ts'
import type { Core } from '../core.ts'
import { blame } from '../envelope.ts'
import { Failed, misbehaved } from '../errors.ts'
import { proofFile } from '../log.ts'
import { opens, prove } from '../receipt.ts'
import { millis } from '../requests.ts'
import { check, tagOf } from '../timeline.ts'
import type { Absent } from './absent.ts'
import type { Happened } from './consent.ts'
import { List, message, type Json } from './json.ts'
import { verifyKept } from './statements.ts'
import type { Files } from './files.ts'

const PAGE_SIZE = 50
const MOST_RECORDS = 200_000

/** The members of an event that stand beside it in the same element. */
const ELSEWHERE = ['record', 'statement', 'statement_key', 'evidence_salt']

const TELLS: readonly Kind[] = [
  Kind.GRANT_PAUSED, Kind.GRANT_RESUMED, Kind.GRANT_WITHDRAWN, Kind.GRANT_SUPERSEDED, Kind.GRANT_SUSPENDED, Kind.GRANT_UNSUSPENDED, Kind.GRANT_REVOKED,
  Kind.GRANT_SUSPENDED_BY_OPERATOR, Kind.GRANT_UNSUSPENDED_BY_OPERATOR, Kind.GRANT_REVOKED_BY_OPERATOR,
]

/** What the log says of one grant: what changed it, and its last use. */
export interface Past {
  changes: (Happened & { restsOn: Uint8Array | undefined })[]
  lastUse?: Happened & { number: bigint }
}

const wrong = (what: string, why: string) => misbehaved('broker', what, why)

export async function records(core: Core, files: Files, absent: Absent, progress: (done: number) => void) {
  const list = new List()
  const past = new Map<string, Past>()
  const numbers = new Map<string, bigint>()
  for (let pageToken = '', from = 0n; ; ) {
    const page = await core.client(EventService).listProvenEvents({ parent: core.customer, cursor: 0n, pageSize: PAGE_SIZE, pageToken, withStatements: true })
    for (const proven of page.events) {
      const { index } = proven.event ?? {}
      if (index === undefined || index < from || proven.receipt?.index !== index) throw wrong('activity', 'order')
      from = index + 1n
      const record = await take(core, proven, files, list, absent)
      if (record.grantTag.length === 0) continue
      const tag = hex(record.grantTag)
      // From the beginning of the log on, each grant's records are numbered without a gap.
      const number = (numbers.get(tag) ?? 0n) + 1n
      if (record.grantSequence !== number) throw wrong('activity', 'grant_sequence')
      numbers.set(tag, number)
      const known = past.get(tag) ?? { changes: [] }
      past.set(tag, known)
      const one = { kind: record.kind, timeMs: record.timeMs, index }
      if (TELLS.includes(record.kind)) known.changes.push({ ...one, restsOn: proven.evidence[0] })
      if (record.kind === Kind.TRANSFER && (known.lastUse?.number ?? 0n) < record.useNumber) known.lastUse = { ...one, number: record.useNumber }
    }
    progress(list.length)
    if (page.nextPageToken === '') break
    if (list.length > MOST_RECORDS || page.events.length === 0) throw wrong('activity', 'length')
    pageToken = page.nextPageToken
  }
  files.add('events.json', list.bytes())
  return { past, count: list.length }
}

async function take(core: Core, { event, receipt, evidence, statements }: ProvenEvent, files: Files, list: List, absent: Absent): Promise<Leaf> {
  if (!event || !receipt) throw wrong('event', 'present')
  check(event, await tagOf(core, event.grant))
  if (!equal(event.record, receipt.record)) throw wrong('event', 'receipt')
  const leaf = await prove(receipt, (note) => core.monitor.take(note, 'broker', 'receipt')).catch((thrown) => Promise.reject(thrown instanceof Failed ? thrown : blame('broker', 'receipt', thrown)))
  const { record } = leaf
  if (!event.eventTime || millis(event.eventTime) !== Number(record.timeMs)) throw wrong('event', 'event_time')
  for (const [what, shown, committed] of [['fields', event.fields, record.fieldsCommitment], ['evidence', evidence, record.evidenceCommitment]] as const) {
    if ((shown.length > 0) === (committed.length === 0)) throw wrong('event', what)
  }
  // They can come when the account is closed, so they name nobody.
  const nobody = record.kind === Kind.ERASURE_ATTESTED || record.kind === Kind.ERASURE_OVERDUE
  await opens(leaf, {
    ...(!nobody && { subject: core.customer }), ...(record.fieldsCommitment.length > 0 && { fields: event.fields }),
    ...(record.evidenceCommitment.length > 0 && { evidence }),
  }).catch((thrown) => Promise.reject(blame('broker', 'receipt', thrown)))
  await verifyKept(core, { record, fields: event.fields, evidence, kept: statements })
  for (const on of evidence.slice(0, evidence.length - statements.length)) absent.rests(event.index, on)
  const told = message(EventSchema, event) as Record<string, Json>
  for (const member of ELSEWHERE) delete told[member]
  const proof = `proofs/${event.index}.tlog-proof`
  list.add({
    index: Number(event.index), event: told, record: message(RecordSchema, record), receipt: message(ReceiptSchema, receipt), evidence: evidence.map(hex),
    statements: statements.map((one) => message(KeptStatementSchema, one)), proof,
  })
  files.add(proof, utf8(proofFile(receipt.index, receipt.path, receipt.checkpoint, receipt.record)))
  return record
}
