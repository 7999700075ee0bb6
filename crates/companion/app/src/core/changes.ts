// Pausing, resuming, stopping, narrowing (protocol, section 9): recorded by the log's proof, stopped by the source's own word.
import { chainOf, changeOf, enterChange, newest, offerOf, standingOf, termsOf } from './rows.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import { create, type MessageInitShape } from '@bufbuild/protobuf'

import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { GrantChange_Verb as Verb, GrantTermsSchema, type GrantChange as Said } from '../gen/countersign/statement/v1/grant_pb.ts'
import type { Receipt } from '../gen/countersign/v1/receipt_pb.ts'
import { equal, hex, random, sha256, type Bytes } from './bytes.ts'
import { type GrantRow } from './book.ts'
import { partyCommitment } from './checks.ts'
import type { Core } from './core.ts'
import { envelopeBytes, envelopeFrom, named, sign, type Envelope } from './envelope.ts'
import { Failed, fail, misbehaved, type CoreError } from './errors.ts'
import { acknowledged, grant as readGrant, listed, lookUp, reconcile } from './grants.ts'
import { linkKey, type Deriving } from './hkdf.ts'
import { GrantChange } from './statements.ts'
import { alone } from './store.ts'
import { again, PAGE_SIZE, pause as sleep, toFailed } from './transport.ts'
import type { GrantView, Name, Narrowing, StopAllView, StopProgress } from './types.ts'
import { brand } from './views.ts'
import { signTwice } from './approve.ts'

const CONFIRM_MS = 60_000
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 2_000
const MOST_IN_CALL = 64
const TRIES = 3
const VERBS: Readonly<Record<number, StopProgress['verb']>> = { [Verb.PAUSE]: 'pause', [Verb.RESUME]: 'resume', [Verb.STOP]: 'stop' }

/** What a change's record says. One that orders to delete under a grant that has ended says that alone. */
function recordKinds(said: Said): Kind[] {
  switch (said.verb) {
    case Verb.PAUSE:
      return [Kind.GRANT_PAUSED]
    case Verb.RESUME:
      return [Kind.GRANT_RESUMED]
    case Verb.NARROW:
      return [Kind.GRANT_SUPERSEDED]
    default:
      return said.erase ? [Kind.GRANT_WITHDRAWN, Kind.ERASURE_ORDERED] : [Kind.GRANT_WITHDRAWN]
  }
}

function checkStanding(row: GrantRow, verb: Verb, erase: boolean): void {
  const no = (problem: 'stopped' | 'superseded' | 'paused' | 'notPaused') => fail({ kind: 'notNow', name: row.name, problem })
  const standing = standingOf(row)
  if (standing === 'stopped') {
    if (verb === Verb.STOP && erase && !chainOf(row).erase) return
    no('stopped')
  }
  if (standing === 'superseded') no('superseded')
  if (standing === 'paused' && (verb === Verb.PAUSE || verb === Verb.NARROW)) no('paused')
  if (standing === 'active' && verb === Verb.RESUME) no('notPaused')
}

async function signChange(core: Core, row: GrantRow, verb: Verb, erase: boolean, root: Deriving, successor?: Bytes): Promise<{ source: Envelope; recipient: Envelope }> {
  const chain = chainOf(row)
  const links = await Promise.all([row.sourceLink, row.recipientLink].map((name) => core.book.link(name)))
  const [sourceLink, recipientLink] = links
  if (!sourceLink || !recipientLink) return fail({ kind: 'storage', problem: 'damaged' })
  const message = {
    broker: core.origin, terms: row.digest, sequence: chain.sequence + 1n, verb, erase, previous: chain.last, timeMs: BigInt(core.now()),
    ...(successor && { successor }),
  }
  return {
    source: await sign(GrantChange, message, [await linkKey(root, sourceLink.invitation)]),
    recipient: await sign(GrantChange, message, [await linkKey(root, recipientLink.invitation)]),
  }
}

const enterPending = (core: Core, row: GrantRow, signed: { source: Envelope; recipient: Envelope }): Promise<GrantRow> =>
  core.book.changeGrant(row.name, (before) => ({
    ...before, pending: { source: envelopeBytes(signed.source), recipient: envelopeBytes(signed.recipient), refused: false, queued: false },
  }))

export const pause = (core: Core, name: Name) => change(core, name, Verb.PAUSE, false)
export const resume = (core: Core, name: Name) => change(core, name, Verb.RESUME, false)
export const stop = (core: Core, name: Name, erase: boolean) => change(core, name, Verb.STOP, erase)

async function change(core: Core, name: Name, verb: Verb, erase: boolean): Promise<StopProgress> {
  // A pause and a stop go out even from a halted device: to refuse is always safe. But see `recorded`.
  if (verb === Verb.RESUME) core.monitor.check()
  const row = await alone(async () => {
    for (let tries = TRIES; ; tries -= 1) {
      let row = await newest(core.book, name)
      if (row.pending) {
        const before = changeOf(row.pending.source)
        const same = before.verb === verb && before.erase === erase
        // Its number is taken until it is settled; offline it waits, and is what was asked for or not.
        if (same || !row.pending.refused) {
          row = await send(core, row)
          if (same || row.pending?.queued) return row
        }
        row = await newest(core.book, name)
      }
      checkStanding(row, verb, erase)
      const signed = await core.unlocked(({ root }) => signChange(core, row, verb, erase, root))
      const entered = await enterPending(core, row, signed)
      try {
        return await send(core, entered)
      } catch (thrown) {
        // The number went to a change that the same keys signed elsewhere: the next one is free.
        const taken = chainOf(await core.book.mustHave(row.name)).sequence > chainOf(row).sequence
        if (!taken || tries <= 1 || toFailed(thrown).error.kind !== 'refused') throw thrown
      }
    }
  })
  core.tell({ what: 'grants', name: row.name })
  return (await progressOf(core, row)) ?? fail({ kind: 'notNow', name, problem: 'nothing' })
}

/** Sends the change that stands in the book, and verifies the proof of its record. Without a network it is queued. */
async function send(core: Core, row: GrantRow): Promise<GrantRow> {
  const { pending } = row
  if (!pending) return row
  const [source, recipient] = [envelopeFrom(pending.source), envelopeFrom(pending.recipient)]
  const said = changeOf(pending.source)
  try {
    if (said.verb === Verb.NARROW) return await sendNarrowing(core, row, said, source, recipient)
    const answer = await again(() => core.client(GrantService).changeGrant({ name: row.name, sourceChange: source, recipientChange: recipient }))
    return await recorded(core, row, pending.source, answer.receipt)
  } catch (thrown) {
    const failed = toFailed(thrown)
    if (failed.error.kind === 'unreachable') {
      const queued = await core.book.changeGrant(row.name, (before) => (before.pending ? { ...before, pending: { ...before.pending, queued: true } } : before))
      await core.reload()
      core.tell({ what: 'status' })
      return queued
    }
    if (failed.no) throw await doubt(core, row, source, failed)
    throw failed
  }
}

/** Verifies the proof of a change's record, and enters the change. */
async function recorded(core: Core, row: GrantRow, source: Bytes, receipt: Receipt | undefined): Promise<GrantRow> {
  // A log with two faces proves nothing: what was sent is not called recorded.
  core.monitor.check()
  const said = changeOf(source)
  const digest = await sha256(envelopeFrom(source).payload)
  const leaf = await core.proven(receipt, core.saying(termsOf(row), { kinds: recordKinds(said), since: said.timeMs, evidence: [digest] }))
  const entered = await enterChange(core.book, row.name, source, leaf.index)
  await core.reload()
  return entered
}

/** What was signed and sent stays in the book. If the broker shows the change that it refused, the change counts. */
async function doubt(core: Core, row: GrantRow, source: Envelope, refusal: Failed): Promise<Failed> {
  await lookUp(core, row.name)
  const now = await core.book.mustHave(row.name)
  const bytes = envelopeBytes(source)
  if (now.changes.some((one) => equal(one.source, bytes))) return misbehaved('broker', 'change', 'refusal')
  await core.book.changeGrant(row.name, (before) => (before.pending ? { ...before, pending: { ...before.pending, refused: true, queued: false } } : before))
  await core.reload()
  return refusal
}

/** Sends what waits: called when the network is back. */
export async function sendQueued(core: Core): Promise<void> {
  for (const { name, pending } of await core.book.grants()) {
    if (!pending?.queued) continue
    try {
      await alone(async () => {
        const row = await core.book.mustHave(name)
        if (row.pending?.queued) await send(core, row)
      })
    } catch (thrown) {
      if (!(thrown instanceof Failed)) throw thrown
    }
    core.tell({ what: 'grants', name })
  }
}

/** How far the newest pause, resumption or stop of a grant has come. */
export async function progressOf(core: Core, row: GrantRow, error?: CoreError): Promise<StopProgress | undefined> {
  const newest = row.pending ?? row.changes.at(-1)
  const said = newest && changeOf(newest.source)
  const verb = said && VERBS[said.verb]
  if (!newest || !verb) return undefined
  const base = { grant: row.name, verb, source: await brand(core, termsOf(row).source), ...(error && { error }) }
  if (row.pending) return { ...base, state: row.pending.queued ? 'queued' : row.pending.refused ? 'refused' : 'sending' }
  const last = row.changes.at(-1)!
  const proof = last.index === undefined ? {} : { proof: { index: Number(last.index) } }
  if (row.acknowledged && equal(row.acknowledged.change, last.digest)) return { ...base, ...proof, state: 'stopped', at: row.acknowledged.at }
  return { ...base, ...proof, state: core.now() - Number(said.timeMs) > CONFIRM_MS ? 'notConfirmed' : 'recorded' }
}

/** Goes on until the source's word verifies, or 60 s are over. An answer that does not hold is no word: it is told beside. */
export function follow(core: Core, name: Name, callback: (progress: StopProgress) => void): () => void {
  let ended = false
  const run = async () => {
    const began = core.now()
    let error: CoreError | undefined
    let last = ''
    for (let wait = FIRST_PAUSE_MS; !ended; wait = Math.min(wait * 2, LONGEST_PAUSE_MS)) {
      let row = await newest(core.book, name)
      try {
        if (row.pending?.queued) await sendQueued(core)
        const shown = await core.client(GrantService).getGrant({ name: row.name })
        row = (await reconcile(core, shown, row)) ?? row
        const word = await acknowledged(core, row, shown, termsOf(row).source)
        error = word.fault
        row = await core.book.mustHave(row.name)
      } catch (thrown) {
        const failed = toFailed(thrown)
        if (!failed.transient) error = failed.error
        if (failed.halts) ended = true
      }
      const progress = await progressOf(core, row, error)
      if (!progress) return
      const over = progress.state === 'recorded' && core.now() - began > CONFIRM_MS
      const told: StopProgress = over ? { ...progress, state: 'notConfirmed' } : progress
      const key = JSON.stringify([told.state, told.at, told.error])
      if (key !== last) callback(told)
      last = key
      if (told.state === 'stopped' || told.state === 'notConfirmed' || told.state === 'refused') {
        core.tell({ what: 'grants', name: row.name })
        return
      }
      await sleep(wait)
    }
  }
  run().catch((thrown: unknown) => {
    if (!(thrown instanceof Failed)) throw thrown
  })
  return () => {
    ended = true
  }
}

// ── Stopping everything ────────────────────────────────────────────────────────────────────────────────────────────────────

const ENDS: readonly Kind[] = [Kind.GRANT_REVOKED, Kind.GRANT_REVOKED_BY_OPERATOR, Kind.GRANT_SUPERSEDED]
const USES: readonly Kind[] = [Kind.TRANSFER, Kind.PROVIDED_NOT_RELEASED]
const MOST_PAGES = 5_000

/** All that may stand: the broker's list and the book, less what she ended herself, what is over by her clock, and what a proven record ended. */
export async function mayStand(core: Core): Promise<{ rows: GrantRow[]; fault: Failed | undefined }> {
  let { rows, omitted, fault } = await listed(core)
  if (omitted) fault ??= misbehaved('broker', 'grants', 'omitted')
  try {
    core.monitor.check()
  } catch (thrown) {
    fault ??= toFailed(thrown)
  }
  const now = BigInt(core.now())
  const open = rows.filter(({ row }) => ['active', 'paused'].includes(standingOf(row)) && now < termsOf(row).expireTimeMs)
  const claimed = open.filter(({ told }) => told && ['revoked', 'consumed', 'superseded'].includes(told.state)).map(({ row }) => row)
  const ended = new Set<string>()
  try {
    if (claimed.length > 0) await provenEnds(core, claimed, ended)
  } catch (thrown) {
    fault ??= toFailed(thrown)
  }
  return { rows: open.map(({ row }) => row).filter((row) => !ended.has(row.name)), fault }
}

async function provenEnds(core: Core, claimed: readonly GrantRow[], ended: Set<string>): Promise<void> {
  const parent = core.customer
  const cursor = claimed.reduce((least, row) => ((row.recorded ?? 0n) < least ? (row.recorded ?? 0n) : least), claimed[0]!.recorded ?? 0n)
  const asked = { parent, cursor, kinds: [...ENDS, ...USES], pageSize: PAGE_SIZE }
  let fault: unknown
  for (let [page, pageToken] = [0, '']; page < MOST_PAGES && ended.size < claimed.length; page += 1) {
    const { events, nextPageToken } = await core.client(EventService).listEvents({ ...asked, pageToken })
    for (const event of events) {
      const row = claimed.find((one) => one.name === event.grant)
      const last = row && (!USES.includes(event.kind) || event.useNumber >= BigInt(termsOf(row).uses))
      if (!row || !last || ended.has(row.name)) continue
      try {
        const { events: [proven] } = await core.client(EventService).listProvenEvents({ parent, cursor: event.index, pageSize: 1 })
        const terms = termsOf(row)
        const leaf = await core.proven(proven?.receipt, core.saying(terms, { kinds: [...ENDS, ...USES], since: terms.timeMs }))
        if (USES.includes(leaf.record.kind) && leaf.record.useNumber < BigInt(terms.uses)) throw misbehaved('broker', 'receipt', 'use_number')
        ended.add(row.name)
      } catch (thrown) {
        fault ??= thrown
      }
    }
    if (nextPageToken === '') break
    pageToken = nextPageToken
  }
  if (fault) throw fault
}

export async function stopAll(core: Core, erase: boolean): Promise<StopAllView> {
  const { rows, fault } = await mayStand(core)
  const each = rows.length === 0 ? [] : await stopRows(core, rows, erase)
  core.tell({ what: 'grants' })
  return { each, ...(fault && { list: fault.error }) }
}

/** One gesture signs them all; each has an outcome of its own. */
async function stopRows(core: Core, rows: readonly GrantRow[], erase: boolean): Promise<StopProgress[]> {
  return alone(() =>
    core.unlocked(async ({ root }) => {
      const outcomes: StopProgress[] = []
      const failed = async (row: GrantRow, thrown: unknown) => {
        const { error } = toFailed(thrown)
        outcomes.push({ grant: row.name, verb: 'stop', state: 'refused', error, source: await brand(core, termsOf(row).source) })
      }
      const ready: GrantRow[] = []
      for (const asked of rows) {
        try {
          let row = await newest(core.book, asked.name)
          const waits = row.pending && !row.pending.refused ? changeOf(row.pending.source) : undefined
          const stops = waits?.verb === Verb.STOP && waits.erase === erase
          if (waits && !stops) {
            await send(core, row).catch(() => undefined)
            row = await newest(core.book, asked.name)
            // It has the number, and nobody says what became of it: it goes before the stop.
            if (row.pending?.queued) throw new Failed({ kind: 'unreachable', offline: false })
          }
          if (!stops) {
            checkStanding(row, Verb.STOP, erase)
            row = await enterPending(core, row, await signChange(core, row, Verb.STOP, erase, root))
          }
          ready.push(row)
        } catch (thrown) {
          await failed(asked, thrown)
        }
      }
      for (let at = 0; at < ready.length; at += MOST_IN_CALL) {
        await sendPage(core, ready.slice(at, at + MOST_IN_CALL), outcomes, failed)
      }
      return outcomes
    }),
  )
}

async function sendPage(core: Core, page: readonly GrantRow[], outcomes: StopProgress[], failed: (row: GrantRow, thrown: unknown) => Promise<void>): Promise<void> {
  const changes = page.map(({ name, pending }) => ({ name, sourceChange: envelopeFrom(pending!.source), recipientChange: envelopeFrom(pending!.recipient) }))
  let answered
  try {
    answered = (await again(() => core.client(GrantService).changeGrants({ changes }))).outcomes
    if (answered.length !== page.length) throw misbehaved('broker', 'changes', 'outcomes')
  } catch (thrown) {
    if (toFailed(thrown).error.kind !== 'unreachable') {
      for (const row of page) await failed(row, thrown)
      return
    }
    for (const row of page) {
      const queued = await core.book.changeGrant(row.name, (before) => (before.pending ? { ...before, pending: { ...before.pending, queued: true } } : before))
      outcomes.push((await progressOf(core, queued))!)
    }
    await core.reload()
    core.tell({ what: 'status' })
    return
  }
  for (const [at, row] of page.entries()) {
    const { reason, code, receipt } = answered[at]!
    try {
      if (reason === '') {
        outcomes.push((await progressOf(core, await recorded(core, row, row.pending!.source, receipt)))!)
        continue
      }
      const refusal = new Failed({ kind: 'refused', reason, code, metadata: {} })
      throw refusal.no ? await doubt(core, row, envelopeFrom(row.pending!.source), refusal) : refusal
    } catch (thrown) {
      await failed(row, thrown)
    }
  }
}

// ── Narrowing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

export async function narrow(core: Core, name: Name, narrowing: Narrowing): Promise<GrantView> {
  core.monitor.check()
  const next = await alone(async () => {
    let row = await newest(core.book, name)
    if (row.pending) {
      await send(core, row)
      row = await newest(core.book, name)
    }
    checkStanding(row, Verb.NARROW, false)
    const shown = await core.client(GrantService).getGrant({ name: row.name })
    row = (await reconcile(core, shown, row)) ?? row
    const { successor, entered } = await draftNarrowing(core, row, narrowing, Math.max(0, termsOf(row).uses - shown.useCount))
    const sent = await send(core, entered)
    // What is not sent does not narrow: and it is not promised for later, since its uses may not fit then.
    if (sent.pending) throw new Failed({ kind: 'unreachable', offline: false })
    return successor
  })
  core.tell({ what: 'grants' })
  return readGrant(core, next)
}

async function draftNarrowing(core: Core, row: GrantRow, narrowing: Narrowing, left: number) {
  const old = termsOf(row)
  const offer = offerOf(row)
  const no = (check: string): never => fail({ kind: 'malformed', what: 'narrowing', check })
  if (left === 0) fail({ kind: 'notNow', name: row.name, problem: 'ended' })
  const fields = old.fields.filter((field) => narrowing.fields?.includes(field) ?? true)
  if (narrowing.fields?.some((field) => !old.fields.includes(field))) no('fields')
  // The offer can't do without them: stop the grant instead.
  if (offer?.requiredFields.some((field) => !fields.includes(field))) no('required_fields')
  const uses = Math.min(narrowing.uses ?? left, left)
  const retentionSeconds = BigInt(narrowing.retentionSeconds ?? old.retentionSeconds)
  const expireTimeMs = BigInt(narrowing.expires ?? old.expireTimeMs)
  if (!Number.isInteger(uses) || uses < 1) no('uses')
  if (retentionSeconds > old.retentionSeconds) no('retention_seconds')
  if (expireTimeMs > old.expireTimeMs || expireTimeMs <= BigInt(core.now())) no('expire_time_ms')
  if (fields.length === old.fields.length && uses >= left && retentionSeconds === old.retentionSeconds && expireTimeMs === old.expireTimeMs) no('narrower')
  const [source, recipient] = [await core.book.link(row.sourceLink), await core.book.link(row.recipientLink)]
  if (!source || !recipient) return fail({ kind: 'storage', problem: 'damaged' })
  const salts = { source: random(32), recipient: random(32) }
  // Made of the fields alone, as the statement is read: nothing comes along that it does not say.
  const { $typeName: _, $unknown: __, ...same } = create(GrantTermsSchema, old)
  const message: MessageInitShape<typeof GrantTermsSchema> = {
    ...same, fields, uses, retentionSeconds, expireTimeMs,
    sourceCommitment: await partyCommitment(salts.source, source.acceptanceDigest),
    recipientCommitment: await partyCommitment(salts.recipient, recipient.acceptanceDigest),
    logTag: random(32), timeMs: BigInt(core.now()), previous: row.digest,
  }
  return core.unlocked(async ({ root }) => {
    const signed = await signTwice(core, message, { source, recipient }, root)
    const successor = named('grants', signed.digest)
    await core.book.enterGrant({
      name: successor, digest: signed.digest, sourceLink: row.sourceLink, recipientLink: row.recipientLink, salts,
      sourceTerms: envelopeBytes(signed.source), recipientTerms: envelopeBytes(signed.recipient), ...(row.offer && { offer: row.offer }),
    })
    const entered = await enterPending(core, row, await signChange(core, row, Verb.NARROW, false, root, signed.digest))
    return { successor, entered }
  })
}

async function sendNarrowing(core: Core, row: GrantRow, said: Said, sourceChange: Envelope, recipientChange: Envelope): Promise<GrantRow> {
  const next = await core.book.mustHave(`grants/${hex(said.successor)}`)
  if (!next.salts || !next.recipientTerms) return fail({ kind: 'storage', problem: 'damaged' })
  let answer
  try {
    answer = await again(() =>
      core.client(GrantService).narrowGrant({
        name: row.name, sourceChange, recipientChange, sourceTerms: envelopeFrom(next.sourceTerms), recipientTerms: envelopeFrom(next.recipientTerms!),
        sourceSalt: next.salts!.source, recipientSalt: next.salts!.recipient,
      }),
    )
  } catch (thrown) {
    const failed = toFailed(thrown)
    if (!failed.no) throw failed
    if (await lookUp(core, next.name)) throw misbehaved('broker', 'narrowing', 'refusal')
    await core.book.changeGrant(next.name, (before) => ({ ...before, refused: true }))
    throw failed
  }
  core.monitor.check()
  const terms = termsOf(next)
  const leaf = await core.proven(answer.receipt, core.saying(terms, { kinds: [Kind.GRANT_APPROVED], since: terms.timeMs, fields: terms.fields, evidence: [next.digest] }))
  const done = await recorded(core, row, envelopeBytes(sourceChange), answer.supersededReceipt)
  await core.book.changeGrant(next.name, (before) => ({ ...before, recorded: leaf.index, shown: true, refused: false }))
  return done
}
