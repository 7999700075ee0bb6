// What happened: the records that concern the customer, refusals too; and the live check of any one of them.
import { termsOf } from './rows.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import { fromBinary } from '@bufbuild/protobuf'

import { Kind, RecordSchema, Result, type Record as Leaf } from '../gen/countersign/log/v1/record_pb.ts'
import type { Event } from '../gen/countersign/v1/event_service_pb.ts'
import { equal, hex } from './bytes.ts'
import type { Catalogue } from './catalogue.ts'
import type { Core } from './core.ts'
import { blame, Refusal, verifyPartner } from './envelope.ts'
import { Failed, fail, misbehaved, type CoreError, type Party } from './errors.ts'
import { checkInclusion, commitment, leafHash, proofFile, readCheckpoint } from './log.ts'
import { isGrant } from './names.ts'
import { opens, readRecord } from './receipt.ts'
import { Provision } from './statements.ts'
import { PAGE_SIZE, toFailed } from './transport.ts'
import type { CheckStep, EntryKind, ProofHandle, ProofView, TimelineEntry, TimelineFilter, TimelinePage } from './types.ts'
import { brand, fieldView, purposeView } from './views.ts'

const FILTERS: Readonly<Record<TimelineFilter, readonly Kind[]>> = {
  all: [],
  transfers: [Kind.TRANSFER],
  refusals: [Kind.TRANSFER_REFUSED, Kind.PROVIDED_NOT_RELEASED],
  changes: [
    Kind.GRANT_APPROVED, Kind.GRANT_PAUSED, Kind.GRANT_RESUMED, Kind.GRANT_WITHDRAWN, Kind.GRANT_SUPERSEDED, Kind.GRANT_SUSPENDED, Kind.GRANT_UNSUSPENDED,
    Kind.GRANT_REVOKED, Kind.GRANT_SUSPENDED_BY_OPERATOR, Kind.GRANT_UNSUSPENDED_BY_OPERATOR, Kind.GRANT_REVOKED_BY_OPERATOR, Kind.ERASURE_ORDERED,
    Kind.ERASURE_ATTESTED, Kind.ERASURE_OVERDUE,
  ],
}

const KINDS: Readonly<Record<number, EntryKind>> = {
  [Kind.TRANSFER]: 'transfer', [Kind.TRANSFER_REFUSED]: 'refused', [Kind.PROVIDED_NOT_RELEASED]: 'notReleased', [Kind.PREVIEWED]: 'previewed',
  [Kind.GRANT_APPROVED]: 'approved', [Kind.GRANT_PAUSED]: 'paused', [Kind.GRANT_RESUMED]: 'resumed', [Kind.GRANT_WITHDRAWN]: 'withdrawn',
  [Kind.GRANT_SUPERSEDED]: 'superseded', [Kind.GRANT_SUSPENDED]: 'suspended', [Kind.GRANT_UNSUSPENDED]: 'unsuspended', [Kind.GRANT_REVOKED]: 'revoked',
  [Kind.GRANT_SUSPENDED_BY_OPERATOR]: 'suspendedByOperator', [Kind.GRANT_UNSUSPENDED_BY_OPERATOR]: 'unsuspendedByOperator',
  [Kind.GRANT_REVOKED_BY_OPERATOR]: 'revokedByOperator', [Kind.GRANT_EXPIRING]: 'expiring', [Kind.ACKNOWLEDGED]: 'acknowledged',
  [Kind.CHANGE_NOTICE]: 'notice', [Kind.LOCATION_TAPPED]: 'tapped', [Kind.ERASURE_ORDERED]: 'erasureOrdered', [Kind.ERASURE_ATTESTED]: 'erasureAttested',
  [Kind.ERASURE_OVERDUE]: 'erasureOverdue', [Kind.REQUEST_CREATED]: 'requestCreated', [Kind.REQUEST_SHOWN]: 'requestShown',
  [Kind.REQUEST_DEFERRED]: 'requestDeferred', [Kind.REQUEST_REFUSED]: 'requestRefused', [Kind.REQUEST_CANCELLED]: 'requestCancelled',
  [Kind.REQUEST_LAPSED]: 'requestLapsed', [Kind.LINK_INVITED]: 'linkInvited', [Kind.LINK_ACCEPTED]: 'linkAccepted', [Kind.LINK_CONFIRMED]: 'linkConfirmed',
  [Kind.LINK_REPLACED]: 'linkReplaced', [Kind.LINK_STOLEN]: 'linkStolen', [Kind.AUTHENTICATOR_ADDED]: 'authenticatorAdded',
  [Kind.AUTHENTICATOR_REMOVED]: 'authenticatorRemoved', [Kind.CUSTOMER_STOLEN]: 'stolen', [Kind.ASKING_CHANGED]: 'askingChanged',
  [Kind.CUSTOMER_CREATED]: 'customerCreated',
}

/** How far back the first look goes, in records of the whole log; each further one four times as far, until a page is full. */
const FIRST_WINDOW = 256n
const LEAST_ENTRIES = 50
const MOST_PAGES = 1_000

/** Walks that are under way: of each grant, the number that the next older record must have. */
const walks = new WeakMap<Core, Map<string, ReadonlyMap<string, bigint>>>()

export async function timeline(core: Core, query: { cursor?: string; filter?: TimelineFilter; grant?: string } = {}): Promise<TimelinePage> {
  core.monitor.check()
  const filter = query.filter ?? 'all'
  const read = () => page(core, query.cursor, filter, query.grant)
  // Of each list the newest page is kept for when nobody answers, and no more.
  return query.cursor === undefined ? core.remembered(`timeline/${filter}/${query.grant ?? ''}`, read) : read()
}

async function page(core: Core, cursor: string | undefined, filter: TimelineFilter, grant: string | undefined): Promise<TimelinePage> {
  let upper = cursor === undefined ? (await core.monitor.refresh()).size + 1n : BigInt(cursor)
  // A receipt's head runs ahead of the published one: what was just recorded is looked for as well.
  if (cursor === undefined) upper += FIRST_WINDOW
  const kinds = FILTERS[filter]
  const known = walks.get(core) ?? new Map<string, ReadonlyMap<string, bigint>>()
  walks.set(core, known)
  let next = new Map(cursor === undefined ? [] : known.get(`${cursor}/${filter}`))
  const entries: TimelineEntry[] = []
  const tags = new Map((await core.book.grants()).map((row) => [row.name, termsOf(row).logTag]))
  let window = FIRST_WINDOW * (cursor === undefined ? 2n : 1n)
  while (upper > 0n && entries.length < LEAST_ENTRIES) {
    const lower = upper > window ? upper - window : 0n
    const found = await between(core, lower, upper, kinds, tags)
    // A record of a grant that is left out between two others is the broker's misbehaviour.
    if (kinds.length === 0) next = numbered(found, next, lower === 0n)
    const wanted = grant === undefined ? found : found.filter(({ event }) => event.grant === grant)
    for (const one of wanted.reverse()) entries.push(await entryOf(core, one))
    upper = lower
    window *= 4n
  }
  if (upper === 0n) return { entries }
  known.set(`${upper}/${filter}`, next)
  return { entries, next: String(upper) }
}

interface Activity {
  event: Event
  record: Leaf
}

async function between(core: Core, lower: bigint, upper: bigint, kinds: readonly Kind[], tags: ReadonlyMap<string, Uint8Array>): Promise<Activity[]> {
  const wrong = (check: string) => misbehaved('broker', 'activity', check)
  const found: Activity[] = []
  let [from, pageToken] = [lower, '']
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const { events, nextPageToken } = await core.client(EventService).listEvents({ parent: core.customer, cursor: lower, kinds: [...kinds], pageSize: PAGE_SIZE, pageToken })
    for (const event of events) {
      if (event.index < from) throw wrong('order')
      from = event.index + 1n
      if (event.index >= upper) return found
      found.push({ event, record: check(event, tags.get(event.grant)) })
    }
    if (nextPageToken === '') return found
    pageToken = nextPageToken
  }
  throw wrong('length')
}

/** Whether an event says what its record says, and of the customer's own grant, whose tag it is. */
export function check(event: Event, tag?: Uint8Array): Leaf {
  let record: Leaf
  try {
    record = fromBinary(RecordSchema, event.record)
  } catch {
    throw misbehaved('broker', 'event', 'record')
  }
  const same = event.kind === record.kind && event.source === record.source && event.recipient === record.recipient && event.purpose === record.purpose
    && event.reason === record.reason && event.useNumber === record.useNumber
  if (!same) throw misbehaved('broker', 'event', 'record')
  if (tag && !equal(record.grantTag, tag)) throw misbehaved('broker', 'event', 'grant')
  return record
}

/** The tag by which the log knows a grant of the book. */
export async function tagOf(core: Core, grant: string): Promise<Uint8Array | undefined> {
  const row = isGrant(grant) ? await core.book.grant(grant) : undefined
  return row && termsOf(row).logTag
}

/** Walks back: each grant's records are numbered without a gap, down to 1 where the list begins with the log. */
function numbered(found: readonly Activity[], before: ReadonlyMap<string, bigint>, fromStart: boolean): Map<string, bigint> {
  const next = new Map(before)
  for (const { record } of [...found].reverse()) {
    if (record.grantTag.length === 0) continue
    const tag = hex(record.grantTag)
    if (record.grantSequence !== (next.get(tag) ?? record.grantSequence)) throw misbehaved('broker', 'activity', 'grant_sequence')
    next.set(tag, record.grantSequence - 1n)
  }
  if (fromStart && [...next.values()].some((left) => left !== 0n)) throw misbehaved('broker', 'activity', 'grant_sequence')
  return next
}

async function entryOf(core: Core, { event, record }: Activity): Promise<TimelineEntry> {
  const catalogue = record.catalogueVersion.length === 32 ? await core.catalogue(record.catalogueVersion).catch(() => undefined) : undefined
  await core.learnPartners([record.source, record.recipient])
  const index = Number(event.index)
  const compared = await compare(core, event, record, catalogue)
  return {
    index, at: Number(record.timeMs), kind: record.result === Result.REPEATED ? 'again' : (KINDS[record.kind] ?? 'other'),
    ...(record.source && { source: await brand(core, record.source) }), ...(record.recipient && { recipient: await brand(core, record.recipient) }),
    ...(record.purpose && { purpose: purposeView(core, catalogue, record.purpose) }), reason: record.reason,
    ...(event.grant && { grant: event.grant }), ...(event.grantRequest && { request: event.grantRequest }),
    fields: event.fields.map((path) => fieldView(core, catalogue, path)), useNumber: Number(record.useNumber), proof: { index }, ...(compared && { compared }),
  }
}

/** What a transfer moved, held against what was previewed: by the source's own word, which the broker can neither read nor make. */
async function compare(core: Core, event: Event, record: Leaf, catalogue: Catalogue | undefined): Promise<TimelineEntry['compared']> {
  if (record.kind !== Kind.TRANSFER || !event.statement) return undefined
  const row = await core.book.grant(event.grant)
  if (!row) return undefined
  const terms = termsOf(row)
  const source = terms.source as Party
  const { said, digest } = await verifyPartner(Provision, event.statement, event.statementKey, terms.sourceIdentity, terms.source, core.origin)
    .catch((thrown) => Promise.reject(blame(source, 'provision', thrown)))
  // The record commits to the provision, so no other transfer's can stand in its place.
  const evidence = event.evidenceSalt.length === 32 ? await commitment('evidence', event.evidenceSalt, row.digest, said.fetch, digest) : new Uint8Array()
  if (said.source !== terms.source || !equal(evidence, record.evidenceCommitment)) throw misbehaved('broker', 'event', 'evidence')
  const seen = (await core.book.previews()).find((one) => equal(one.digest, said.preview))
  if (said.preview.length === 0 || !seen) return undefined
  if (!equal(seen.request, terms.request) || !equal(seen.offer, terms.offer)) throw misbehaved(source, 'provision', 'preview')
  return said.marks.map(({ field, mac }) => {
    const before = seen.marks.find((mark) => mark.field === field)
    return { field: fieldView(core, catalogue, field), since: !before ? 'unseen' : equal(before.mac, mac) ? 'same' : 'changed' }
  })
}

/** Fetches the proof of a record anew, and checks it step by step. What does not hold is a step that fails. */
export async function proofOf(core: Core, { index }: ProofHandle): Promise<ProofView> {
  // Of what is signed and sent, and has no record that this device knows of.
  if (!Number.isSafeInteger(index) || index < 0) return fail({ kind: 'notNow', name: '', problem: 'unknown' })
  const { events: [proven] } = await core.client(EventService).listProvenEvents({ parent: core.customer, cursor: BigInt(index), pageSize: 1 })
  const receipt = proven?.receipt
  const steps: CheckStep[] = []
  const error = (check: string): CoreError => ({ kind: 'misbehaved', who: 'broker', what: 'receipt', check })
  const step = (name: CheckStep['check'], check: string | undefined, result: CheckStep['result'] = 'holds') =>
    steps.push(check === undefined ? { check: name, result } : { check: name, result: 'fails', error: error(check) })
  if (!proven?.event || !receipt || receipt.index !== BigInt(index)) {
    step('inclusion', 'present')
    return { holds: false, steps, index, size: 0, root: '', leaf: '', recordedAt: 0, file: '' }
  }
  const leaf = await leafHash(receipt.record)
  const head = await readCheckpoint(receipt.checkpoint, core.trust.logKey)
  if (typeof head === 'string') step('signature', 'signature')
  else {
    step('signature', undefined)
    step('inclusion', await checkInclusion(receipt.index, head.size, leaf, receipt.path, head.root))
    try {
      step('consistency', undefined, await core.monitor.consistent(head))
    } catch (thrown) {
      const failed = toFailed(thrown)
      steps.push(failed.error.kind === 'unreachable' ? { check: 'consistency', result: 'notChecked' } : { check: 'consistency', result: 'fails', error: failed.error })
    }
  }
  let recordedAt = 0
  try {
    const record = readRecord(receipt.record)
    recordedAt = Number(record.timeMs)
    check(proven.event, await tagOf(core, proven.event.grant))
    if (!equal(proven.event.record, receipt.record)) throw new Refusal('record')
    // A commitment to nothing is empty.
    await opens({ record, receipt }, {
      ...(record.subjectCommitment.length > 0 && { subject: core.customer }),
      ...(record.fieldsCommitment.length > 0 && { fields: proven.event.fields }),
      ...(record.evidenceCommitment.length > 0 && { evidence: proven.evidence }),
    })
    step('commitments', undefined)
  } catch (thrown) {
    if (thrown instanceof Refusal) step('commitments', thrown.check)
    else if (thrown instanceof Failed) steps.push({ check: 'commitments', result: 'fails', error: thrown.error })
    else throw thrown
  }
  const holds = steps.every(({ result }) => result !== 'fails')
  return {
    holds, steps, index, size: typeof head === 'string' ? 0 : Number(head.size), root: typeof head === 'string' ? '' : hex(head.root), leaf: hex(leaf), recordedAt,
    file: holds ? proofFile(receipt.index, receipt.path, receipt.checkpoint, receipt.record) : '',
  }
}
