// How the customer is asked, and what opens her keys (protocol, sections 8 and 18).
import { offerOf } from './rows.ts'
import { CustomerService } from '../gen/countersign/v1/customer_service_pb.ts'
import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { CustomerChange_Verb as Verb, type CustomerChange } from '../gen/countersign/statement/v1/customer_pb.ts'
import type { Customer } from '../gen/countersign/v1/customer_service_pb.ts'
import { equal, fromHex, hex, random, sha256, type Bytes } from './bytes.ts'
import { Identity, labelCommitment } from './checks.ts'
import { SKEW_MS, type Core } from './core.ts'
import { blame, digestOf, envelopeBytes, envelopeFrom, peek, sign, verify } from './envelope.ts'
import { fail, misbehaved } from './errors.ts'
import { makePasskey, wrapFor } from './keys.ts'
import { saysOfCustomer, type ProvenLeaf } from './receipt.ts'
import { millis } from './requests.ts'
import { CustomerChangeKind } from './statements.ts'
import { alone } from './store.ts'
import { again, allPages, PAGE_SIZE, toFailed } from './transport.ts'
import type { Asking, AuthenticatorView, PartnerName, Settings } from './types.ts'
import { brand } from './views.ts'

const MOST_LABEL = 120
const MINUTES = 1440

export async function settings(core: Core): Promise<Settings> {
  const name = core.customer
  return core.remembered('settings', async () => {
    const customer = own(core, await core.client(CustomerService).getCustomer({ name }))
    await core.learnPartners(customer.silences.map(({ partner }) => partner))
    const phones = new Map<string, string>()
    for (const row of await core.book.grants()) {
      const offer = offerOf(row)
      if (offer) phones.set(offer.recipient, offer.contactPhone)
    }
    for (const link of await core.book.links()) {
      const known = core.partners[link.partner]?.phone
      if (known && !phones.has(link.partner)) phones.set(link.partner, known)
    }
    return {
      asking: askingView(customer),
      silences: await Promise.all(customer.silences.map(async (one) => ({ brand: await brand(core, one.partner), until: millis(one.endTime) }))),
      authenticators: await authenticators(core),
      phones: await Promise.all([...phones].map(async ([partner, phone]) => ({ brand: await brand(core, partner), phone }))),
    }
  })
}

function own(core: Core, answered: Customer): Customer {
  if (answered.name !== core.customer) throw misbehaved('broker', 'customer', 'name')
  return answered
}

function askingView({ asking }: Customer): Asking {
  const quiet = asking?.quietHours
  return {
    timeZone: asking?.timeZone || 'UTC', perDay: asking?.perDay ?? 0, perWeek: asking?.perWeek ?? 0, paused: asking?.paused ?? false,
    ...(quiet && { quiet: { fromMinute: quiet.fromMinute, untilMinute: quiet.untilMinute } }),
  }
}

export async function setAsking(core: Core, asking: Asking): Promise<void> {
  const { timeZone, quiet, perDay, perWeek, paused } = asking
  const minute = (value: number) => Number.isInteger(value) && value >= 0 && value < MINUTES
  if (quiet && !(minute(quiet.fromMinute) && minute(quiet.untilMinute) && quiet.fromMinute !== quiet.untilMinute)) fail({ kind: 'malformed', what: 'asking', check: 'quiet_hours' })
  const answered = own(core, await core.client(CustomerService).setAsking({ name: core.customer, asking: { timeZone, perDay, perWeek, paused, ...(quiet && { quietHours: quiet }) } }))
  // What the broker says afterwards must be what was set.
  if (JSON.stringify(askingView(answered)) !== JSON.stringify({ timeZone: timeZone || 'UTC', perDay, perWeek, paused, ...(quiet && { quiet }) })) throw misbehaved('broker', 'customer', 'asking')
  core.tell({ what: 'settings' })
}

export async function endSilence(core: Core, partner: PartnerName): Promise<void> {
  own(core, await core.client(CustomerService).endSilence({ name: core.customer, partner }))
  core.tell({ what: 'settings' })
}

// ── The chain of what opens the root secret ────────────────────────────────────────────────────────────────────────────────

interface IdentityRow {
  sequence: bigint
  last: Bytes
}
interface PendingRow {
  change: Bytes
  wrapped: Bytes
}

/** What the changes add up to. Fewer than this device has seen, or others, are the broker's misbehaviour. */
export async function identity(core: Core): Promise<Identity> {
  const parent = core.customer
  const wrong = (check: string) => misbehaved('broker', 'authenticators', check)
  const seen = await core.store.get<IdentityRow>('meta', 'identity')
  const changes = await allPages(async (pageToken) => {
    const { changes: items, nextPageToken } = await core.client(CustomerService).listCustomerChanges({ parent, pageSize: PAGE_SIZE, pageToken })
    return { items, nextPageToken }
  })
  const found = new Identity(parent)
  let met = seen === undefined
  for (const change of changes) {
    const signed = await verify(CustomerChangeKind, change, [core.callKey], core.origin).catch((thrown) => Promise.reject(blame('broker', 'authenticators', thrown)))
    const check = found.take(signed.said, signed.digest)
    if (check) throw wrong(check)
    if (seen && found.sequence === seen.sequence && equal(found.last, seen.last)) met = true
  }
  if (!met) throw wrong(found.sequence < seen!.sequence ? 'sequence' : 'previous')
  if (found.sequence > (seen?.sequence ?? 0n)) await keepIdentity(core, found.sequence, found.last)
  return found
}

const keepIdentity = (core: Core, sequence: bigint, last: Uint8Array) =>
  core.store.put({ store: 'meta', key: 'identity', value: { sequence, last: new Uint8Array(last) } satisfies IdentityRow })

const labelKey = (id: string) => `label/${id}`

async function authenticators(core: Core): Promise<AuthenticatorView[]> {
  const { present } = await identity(core)
  const mine = core.keys?.authenticator && hex(core.keys.authenticator)
  return Promise.all(
    [...present].map(async ([id, { addedMs }]) => ({
      id, addedAt: Number(addedMs), thisDevice: id === mine, label: (await core.store.get<{ label: string }>('meta', labelKey(id)))?.label ?? '',
    })),
  )
}

export function checkLabel(label: string): void {
  const length = [...label].length
  if (label.trim() === '' || length > MOST_LABEL || /\p{Cc}/u.test(label)) fail({ kind: 'malformed', what: 'label', check: 'form' })
}

type Change = Pick<CustomerChange, 'verb'> & Partial<Pick<CustomerChange, 'authenticator' | 'wrapped' | 'labelCommitment'>>

export interface Prepared {
  said: Change
  wrapped: Bytes
}

/** A new authenticator's change, with its label noted on this device. */
export async function addition(core: Core, id: Bytes, wrapped: Bytes, label: string): Promise<Prepared> {
  const salt = random(32)
  await core.store.put({ store: 'meta', key: labelKey(hex(id)), value: { salt, label } })
  return { wrapped, said: { verb: Verb.ADD_AUTHENTICATOR, authenticator: id, wrapped: await sha256(wrapped), labelCommitment: await labelCommitment(salt, label) } }
}

/** Signs the next change, notes it, sends it, and verifies the proof of its record. */
export async function changeIdentity(core: Core, { said, wrapped }: Prepared): Promise<ProvenLeaf> {
  // A report of theft goes out even from a halted device: to refuse is always safe. But see `sendIdentity`.
  if (said.verb !== Verb.REPORT_STOLEN) core.monitor.check()
  return alone(async () => {
    let now = await identity(core)
    const pending = await core.store.get<PendingRow>('meta', 'pendingIdentity')
    if (pending) {
      // Its number is taken until it is settled.
      const before = await peek(CustomerChangeKind, envelopeFrom(pending.change))
      try {
        const leaf = await sendIdentity(core, pending)
        if (before.verb === said.verb && equal(before.authenticator, said.authenticator ?? new Uint8Array())) return leaf
      } catch (thrown) {
        const failed = toFailed(thrown)
        // Another device had its number.
        if (!failed.no) throw failed
      }
      now = await identity(core)
    }
    const message = { ...said, broker: core.origin, customer: core.customer, sequence: now.sequence + 1n, previous: now.last, timeMs: BigInt(core.now()) }
    const change = await sign<CustomerChange>(CustomerChangeKind, message, [core.callKey])
    const signed = await verify(CustomerChangeKind, change, [core.callKey], core.origin)
    if (now.take(signed.said, signed.digest)) fail({ kind: 'notNow', name: core.customer, problem: said.verb === Verb.REMOVE_AUTHENTICATOR ? 'last' : 'ended' })
    const row: PendingRow = { change: envelopeBytes(change), wrapped }
    await core.store.put({ store: 'meta', key: 'pendingIdentity', value: row })
    return sendIdentity(core, row)
  })
}

const RECORDS: Readonly<Record<number, Kind>> = {
  [Verb.ADD_AUTHENTICATOR]: Kind.AUTHENTICATOR_ADDED, [Verb.REMOVE_AUTHENTICATOR]: Kind.AUTHENTICATOR_REMOVED, [Verb.REPORT_STOLEN]: Kind.CUSTOMER_STOLEN,
}

async function sendIdentity(core: Core, { change, wrapped }: PendingRow): Promise<ProvenLeaf> {
  const statement = envelopeFrom(change)
  const said = await peek(CustomerChangeKind, statement)
  const digest = await digestOf(statement)
  const { receipt } = await again(() => core.client(CustomerService).changeCustomer({ name: core.customer, statement, wrapped }))
  core.monitor.check()
  const leaf = await core.proven(receipt)
  await saysOfCustomer(leaf, RECORDS[said.verb]!, core.customer, digest, Number(said.timeMs) - SKEW_MS, core.now() + SKEW_MS)
    .catch((thrown) => Promise.reject(blame('broker', 'receipt', thrown)))
  await keepIdentity(core, said.sequence, digest)
  await core.store.put({ store: 'meta', key: 'pendingIdentity', value: undefined })
  return leaf
}

/** Signs a new customer's first change, which needs nothing of the broker; `settleIdentity` sends it. */
export async function signFirst(core: Core, { said, wrapped }: Prepared): Promise<void> {
  const message = { ...said, broker: core.origin, customer: core.customer, sequence: 1n, timeMs: BigInt(core.now()) }
  const change = envelopeBytes(await sign<CustomerChange>(CustomerChangeKind, message, [core.callKey]))
  await core.store.put({ store: 'meta', key: 'pendingIdentity', value: { change, wrapped } satisfies PendingRow })
}

/** Sends what was signed before and never answered: the first passkey of a first use that was cut off, above all. */
export async function settleIdentity(core: Core): Promise<void> {
  await alone(async () => {
    const pending = await core.store.get<PendingRow>('meta', 'pendingIdentity')
    if (pending) await sendIdentity(core, pending)
  })
}

export async function addAuthenticator(core: Core, label: string): Promise<AuthenticatorView> {
  checkLabel(label)
  const keys = core.keys
  if (keys?.where === 'device') return fail({ kind: 'noPrf' })
  const prepared = await core.unlocked(async ({ bytes }) => {
    if (!bytes) return fail({ kind: 'noPrf' })
    const made = await makePasskey(label, keys?.credential ? [keys.credential] : [])
    return { id: made.id, ...(await addition(core, made.id, await wrapFor(made, core.origin, bytes), label)) }
  })
  await changeIdentity(core, prepared)
  core.tell({ what: 'settings' })
  return { id: hex(prepared.id), label, addedAt: core.now(), thisDevice: false }
}

export async function removeAuthenticator(core: Core, id: string): Promise<void> {
  const { present } = await identity(core)
  if (!present.has(id)) fail({ kind: 'notNow', name: id, problem: 'unknown' })
  if (present.size === 1) fail({ kind: 'notNow', name: id, problem: 'last' })
  // The gesture is no part of the signature, but nobody takes a passkey away in passing.
  await core.unlocked(() => changeIdentity(core, { said: { verb: Verb.REMOVE_AUTHENTICATOR, authenticator: fromHex(id) }, wrapped: new Uint8Array() }))
  core.tell({ what: 'settings' })
}
