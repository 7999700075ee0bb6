// The customer's grants: what was signed, beside what the broker says of it.
import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import { chainOf, enterChange, eraseOrder, offerOf, standingOf, successorOf, termsOf } from './rows.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import { Grant_State, type Grant } from '../gen/countersign/v1/grant_service_pb.ts'
import type { GrantTerms as Terms } from '../gen/countersign/statement/v1/grant_pb.ts'
import { equal, hex, type Bytes } from './bytes.ts'
import { type GrantRow } from './book.ts'
import { opensParty } from './checks.ts'
import type { Core } from './core.ts'
import { blame, digestOf, envelopeBytes, named, peek, verify, verifyPartner } from './envelope.ts'
import { Failed, fail, misbehaved, type CoreError, type Party } from './errors.ts'
import { keyOf, learnLinks } from './links.ts'
import { isGrant } from './names.ts'
import { Acknowledgement, ErasureAttestation, GrantChange, GrantTerms } from './statements.ts'
import { allPages, PAGE_SIZE, toFailed } from './transport.ts'
import type { ErasureView, GrantState, GrantView, Name, ProofHandle } from './types.ts'
import { brand, fieldView, receiptCode, termsView } from './views.ts'
import { progressOf } from './changes.ts'

const STATES: Readonly<Record<number, GrantState>> = {
  [Grant_State.ACTIVE]: 'active', [Grant_State.PAUSED]: 'paused', [Grant_State.SUSPENDED]: 'suspended', [Grant_State.WITHDRAWN]: 'withdrawn',
  [Grant_State.REVOKED]: 'revoked', [Grant_State.EXPIRED]: 'expired', [Grant_State.CONSUMED]: 'consumed', [Grant_State.SUPERSEDED]: 'superseded',
}

/** What the broker says of a grant, as far as it holds; kept, so that it is there without a network. */
export interface Told {
  state: GrantState
  useCount: number
  reason: string
  successor: string
  attestedAt?: number
  fault?: CoreError
}

export const grantCode = (terms: Terms): string => receiptCode(terms.logTag)
export const proofOfRow = (row: GrantRow): ProofHandle | undefined => (row.recorded === undefined ? undefined : { index: Number(row.recorded) })
const wrong = (check: string) => misbehaved('broker', 'grant', check)

/**
 * Finds the record of an approval whose proof this device has not seen: the answer was lost, or another device approved. Without a
 * network, or where the broker shows none, it stays without.
 */
export async function findApproval(core: Core, row: GrantRow): Promise<GrantRow> {
  if (row.recorded !== undefined || !row.shown) return row
  const terms = termsOf(row)
  try {
    let pageToken = ''
    do {
      const { events, nextPageToken } = await core.client(EventService).listEvents({ parent: core.customer, kinds: [Kind.GRANT_APPROVED], pageSize: PAGE_SIZE, pageToken })
      const event = events.find((one) => one.grant === row.name)
      if (event) {
        const { events: [proven] } = await core.client(EventService).listProvenEvents({ parent: core.customer, cursor: event.index, pageSize: 1 })
        const leaf = await core.proven(proven?.receipt, core.saying(terms, { kinds: [Kind.GRANT_APPROVED], since: terms.timeMs, fields: terms.fields, evidence: [row.digest] }))
        return await core.book.changeGrant(row.name, (before) => ({ ...before, recorded: leaf.index }))
      }
      pageToken = nextPageToken
    } while (pageToken !== '')
  } catch (thrown) {
    if (!(thrown instanceof Failed) || thrown.error.kind !== 'unreachable') throw thrown
  }
  return row
}

export interface Listed {
  rows: { row: GrantRow; told: Told | undefined }[]
  /** One that the broker had shown before, and leaves out. */
  omitted: string | undefined
  fault: Failed | undefined
}

/** The broker's list held against the book: one bad line keeps no other from it. */
export async function listed(core: Core): Promise<Listed> {
  const parent = core.customer
  // As it stood before the broker was asked: what is changed meanwhile it need not show yet.
  const before = new Map((await core.book.grants()).map((row) => [row.name, row]))
  let fault: Failed | undefined
  let items: Grant[] = []
  try {
    items = await allPages(async (pageToken) => {
      const { grants, nextPageToken } = await core.client(GrantService).listGrants({ parent, pageSize: PAGE_SIZE, pageToken })
      return { items: grants, nextPageToken }
    })
    // A grant of another device may hang on a link of another device.
    if (items.some((grant) => !before.has(grant.name))) await learnLinks(core)
  } catch (thrown) {
    fault = toFailed(thrown)
  }
  const told = new Map<string, Told>()
  for (const grant of items) {
    try {
      const row = await reconcile(core, grant, before.get(grant.name))
      if (row) told.set(row.name, await hear(core, row, grant))
    } catch (thrown) {
      if (!(thrown instanceof Failed)) throw thrown
      fault ??= thrown
    }
  }
  const omitted = fault ? undefined : [...before.values()].find((row) => row.shown && !told.has(row.name))?.name
  if (!fault || told.size > 0) {
    await core.store.note(...[...told].map(([name, value]) => ({ store: 'seen' as const, key: `told/${name}`, value })))
  }
  const rows = (await core.book.grants()).map((row) => ({ row, told: told.get(row.name) }))
  return { rows, omitted, fault }
}

export async function grants(core: Core): Promise<GrantView[]> {
  const { rows, omitted, fault } = await listed(core)
  if (fault && fault.error.kind !== 'unreachable') throw fault
  if (fault) return grantsSeen(core)
  if (omitted) throw misbehaved('broker', 'grants', 'omitted')
  const terms = rows.map(({ row }) => termsOf(row))
  await core.learnPartners(terms.flatMap((one) => [one.source, one.recipient]))
  return viewed(core, rows)
}

/** The book, beside what the broker said of it last. */
export async function grantsSeen(core: Core): Promise<GrantView[]> {
  const rows = await core.book.grants()
  return viewed(core, await Promise.all(rows.map(async (row) => ({ row, told: await core.store.get<Told>('seen', `told/${row.name}`) }))))
}

const viewed = async (core: Core, rows: Listed['rows']): Promise<GrantView[]> =>
  (await Promise.all(rows.map(({ row, told }) => view(core, row, told)))).filter((one) => one !== undefined).reverse()

export async function grant(core: Core, name: Name): Promise<GrantView> {
  if (!isGrant(name)) fail({ kind: 'malformed', what: 'name', check: 'form' })
  const before = await core.book.grant(name)
  let told: Told | undefined
  try {
    const shown = await core.client(GrantService).getGrant({ name })
    if (shown.name !== name) throw wrong('name')
    if (!before) await learnLinks(core)
    const row = await reconcile(core, shown, before)
    if (row) {
      told = await hear(core, row, shown)
      await core.store.note({ store: 'seen', key: `told/${name}`, value: told })
    }
  } catch (thrown) {
    const failed = toFailed(thrown)
    const unknown = failed.error.kind === 'refused' && failed.error.code === 5
    if (failed.error.kind === 'unreachable') told = await core.store.get<Told>('seen', `told/${name}`)
    else if (!unknown || !before) throw failed
  }
  return (await view(core, await findApproval(core, await core.book.mustHave(name)), told)) ?? fail({ kind: 'notNow', name, problem: 'unknown' })
}

/** What the book has of a grant once the broker was asked; undefined if it says that there is none. */
export async function lookUp(core: Core, name: Name): Promise<GrantRow | undefined> {
  const before = await core.book.grant(name)
  let shown: Grant
  try {
    shown = await core.client(GrantService).getGrant({ name })
  } catch (thrown) {
    const failed = toFailed(thrown)
    if (failed.error.kind === 'refused' && failed.error.code === 5) return undefined
    throw failed
  }
  if (!before) await learnLinks(core)
  if (shown.name !== name) throw wrong('name')
  return reconcile(core, shown, before)
}

/** Holds what the broker shows against the book; undefined of a grant whose links wait for the next gesture to be known. */
export async function reconcile(core: Core, grant: Grant, before: GrantRow | undefined): Promise<GrantRow | undefined> {
  if (!isGrant(grant.name)) throw wrong('name')
  // One that shows fewer changes than the book had goes back to an older state.
  if (BigInt(grant.changes.length) < (before ? chainOf(before).sequence : 0n)) throw wrong('sequence')
  let row = await core.book.grant(grant.name)
  if (row) {
    const link = await core.book.link(row.sourceLink)
    if (!link) return fail({ kind: 'storage', problem: 'damaged' })
    await verifyTerms(core, grant, [await keyOf(link)])
  } else row = await adopt(core, grant)
  if (!row) return undefined
  const offer = grant.offer
  if (offer && !row.offer) {
    if (!equal(await digestOf(offer), termsOf(row).offer)) throw wrong('offer')
    row = await core.book.changeGrant(row.name, (old) => ({ ...old, offer: envelopeBytes(offer) }))
  }
  if (row.refused || !row.shown) row = await core.book.changeGrant(row.name, (old) => ({ ...old, refused: false, shown: true }))
  const key = await keyOf((await core.book.link(row.sourceLink))!)
  for (const change of grant.changes) {
    const signed = await verify(GrantChange, change, [key], core.origin).catch((thrown) => Promise.reject(blame('broker', 'change', thrown)))
    const chain = chainOf(row)
    if (!equal(signed.said.terms, row.digest)) throw wrong('changes')
    if (signed.said.sequence !== chain.sequence + 1n || !equal(signed.said.previous, chain.last)) continue
    row = await enterChange(core.book, row.name, envelopeBytes(change))
  }
  return row
}

async function verifyTerms(core: Core, grant: Grant, keys: Parameters<typeof verify>[2]) {
  const terms = await verify(GrantTerms, grant.terms, keys, core.origin).catch((thrown) => Promise.reject(blame('broker', 'terms', thrown)))
  if (named('grants', terms.digest) !== grant.name) throw wrong('terms')
  return terms
}

/** One that was approved with the same keys elsewhere: the signature vouches for it, and the commitment says on which link it hangs. */
async function adopt(core: Core, grant: Grant): Promise<GrantRow | undefined> {
  const claimed = await peek(GrantTerms, grant.terms).catch((thrown) => Promise.reject(blame('broker', 'terms', thrown)))
  const signers = grant.terms!.signatures.map((one) => one.keyId)
  const links = await core.book.links()
  const keyed = await Promise.all(links.map(async (link) => ({ link, key: await keyOf(link) })))
  const source = keyed.find(({ link, key }) => link.partner === claimed.source && signers.includes(key.id))
  if (!source) {
    // It may hang on a link that another device made, and that takes a gesture to know as one's own.
    if ((await learnLinks(core)).unknown > 0) return undefined
    throw wrong('terms')
  }
  const terms = await verifyTerms(core, grant, [source.key])
  for (const link of links) {
    if (link.partner !== terms.said.recipient || !(await opensParty(terms.said.recipientCommitment, grant.recipientSalt, link.acceptanceDigest))) continue
    return core.book.enterGrant({
      name: grant.name, digest: terms.digest, sourceLink: source.link.name, recipientLink: link.name, sourceTerms: envelopeBytes(terms.envelope), shown: true,
    })
  }
  if ((await learnLinks(core)).unknown > 0) return undefined
  throw wrong('recipient_salt')
}

/** The source's word on the newest change, the recipient's attestation, and what else the broker says. */
export async function hear(core: Core, row: GrantRow, shown: Grant): Promise<Told> {
  const terms = termsOf(row)
  const told: Told = { state: STATES[shown.state] ?? 'unconfirmed', useCount: shown.useCount, reason: shown.reason, successor: shown.successor }
  const word = await acknowledged(core, row, shown, terms.source)
  if (word.fault) told.fault = word.fault
  const order = eraseOrder(row)
  if (order && shown.erasureAttestation) {
    const who = terms.recipient as Party
    try {
      const { said } = await verifyPartner(
        ErasureAttestation, shown.erasureAttestation, shown.erasureAttestationKey, terms.recipientIdentity, terms.recipient, core.origin,
      ).catch((thrown) => Promise.reject(blame(who, 'attestation', thrown)))
      for (const [check, good] of [['partner', said.partner === terms.recipient], ['terms', equal(said.terms, row.digest)], ['change', equal(said.change, order.digest)]] as const) {
        if (!good) throw misbehaved(who, 'attestation', check)
      }
      await core.head(said.checkpoint, terms.recipient, 'attestation')
      told.attestedAt = Number(said.timeMs)
    } catch (thrown) {
      told.fault = counted(thrown)
    }
  }
  return told
}

/** A partner's word that does not hold counts as absent; what halts, or is the broker's, does not. */
function counted(thrown: unknown): CoreError {
  if (thrown instanceof Failed && !thrown.halts) return thrown.error
  throw thrown
}

/** The first of the changes from this one on that a side has acknowledged, and when, by its own word. */
export async function acknowledged(
  core: Core, row: GrantRow, shown: Grant, side: string, since?: Uint8Array,
): Promise<{ word?: { change: Bytes; at: number; later: boolean }; fault?: CoreError }> {
  const terms = termsOf(row)
  const identity = side === terms.source ? terms.sourceIdentity : terms.recipientIdentity
  const digests = row.changes.map((one) => one.digest)
  const from = since ? digests.findIndex((one) => equal(one, since)) : digests.length - 1
  const wanted = from < 0 ? [] : digests.slice(from)
  let best = wanted.length
  let at = 0
  let fault: CoreError | undefined
  for (const one of shown.acknowledgements) {
    if (one.partner !== side) continue
    try {
      // Words on what came before are good, and say nothing here.
      const about = await peek(Acknowledgement, one.statement).then((said) => wanted.findIndex((digest) => equal(digest, said.statement)), () => 0)
      if (about < 0 || about >= best) continue
      const who = side as Party
      const { said } = await verifyPartner(Acknowledgement, one.statement, one.partnerKey, identity, side, core.origin)
        .catch((thrown) => Promise.reject(blame(who, 'acknowledgement', thrown)))
      if (said.partner !== side) throw misbehaved(who, 'acknowledgement', 'partner')
      await core.head(said.checkpoint, side, 'acknowledgement')
      const place = wanted.findIndex((digest) => equal(digest, said.statement))
      if (place >= 0 && place < best) {
        best = place
        at = Number(said.timeMs)
      }
    } catch (thrown) {
      fault ??= counted(thrown)
    }
  }
  const change = wanted[best]
  if (!change) return fault ? { fault } : {}
  if (side === terms.source && best === wanted.length - 1 && !row.acknowledged?.change.every((byte, place) => byte === change[place])) {
    await core.book.changeGrant(row.name, (old) => ({ ...old, acknowledged: { change, at } }))
  }
  return { word: { change, at, later: best > 0 } }
}

function stateOf(row: GrantRow, told: Told | undefined): GrantState {
  const standing = standingOf(row)
  if (standing === 'superseded') return 'superseded'
  const state = told?.state
  if (standing === 'stopped') return state === undefined || ['active', 'paused', 'suspended', 'unconfirmed'].includes(state) ? 'withdrawn' : state
  if (standing === 'paused' && (state === 'active' || state === undefined)) return 'paused'
  return state ?? 'unconfirmed'
}

export async function view(core: Core, row: GrantRow, told: Told | undefined): Promise<GrantView | undefined> {
  const terms = termsOf(row)
  const offer = offerOf(row)
  // Without the offer there is nothing to say of it: it comes with the broker's answer.
  if (!offer) return undefined
  const catalogue = await core.catalogue(terms.catalogueVersion).catch((thrown: unknown) => {
    if (thrown instanceof Failed && thrown.error.kind === 'unreachable') return undefined
    throw thrown
  })
  const successor = successorOf(row) ?? told?.successor
  const erasure = await erasureView(core, row, told)
  const proof = proofOfRow(row)
  const stop = await progressOf(core, row)
  return {
    name: row.name, terms: await termsView(core, offer, catalogue, terms), fields: terms.fields.map((path) => fieldView(core, catalogue, path)),
    state: stateOf(row, told), approvedAt: Number(terms.timeMs), expires: Number(terms.expireTimeMs), useCount: told?.useCount ?? 0, reason: told?.reason ?? '',
    ...(terms.previous.length > 0 && { previous: `grants/${hex(terms.previous)}` }), ...(successor && { successor }),
    request: `grantRequests/${hex(terms.request)}`, code: grantCode(terms), ...(proof && { proof }), ...(stop && { stop }), ...(erasure && { erasure }),
    queued: row.pending?.queued ?? false, ...(told?.fault && { fault: told.fault }),
  }
}

const LEAST_ERASE_MS = 10_000n

export async function erasureView(core: Core, row: GrantRow, told: Told | undefined): Promise<ErasureView | undefined> {
  const order = eraseOrder(row)
  if (!order) return undefined
  const terms = termsOf(row)
  const ordered = order.said.timeMs
  const end = (ordered < terms.expireTimeMs ? ordered : terms.expireTimeMs) + terms.retentionSeconds * 1000n
  const due = Number(end > ordered + LEAST_ERASE_MS ? end : ordered + LEAST_ERASE_MS)
  const attestedAt = told?.attestedAt
  return {
    grant: row.name, recipient: await brand(core, terms.recipient), due, ...(attestedAt !== undefined && { attestedAt }), overdue: attestedAt === undefined && core.now() >= due,
  }
}

export async function erasures(core: Core): Promise<ErasureView[]> {
  const views = (await grants(core)).flatMap((one) => one.erasure ?? [])
  return views.sort((a, b) => Number(b.overdue) - Number(a.overdue) || a.due - b.due)
}
