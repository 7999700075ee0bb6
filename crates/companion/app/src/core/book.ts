// The customer's book (protocol, section 16): whom she is linked with and under which identity, and what was signed. Each row
// is on disk before what it tells of leaves, and what was signed is never forgotten, whatever a broker answers.
import { fromBinary } from '@bufbuild/protobuf'

import { GrantChange_Verb, GrantChangeSchema, GrantTermsSchema, type GrantChange, type GrantTerms } from '../gen/countersign/statement/v1/grant_pb.ts'
import { OfferSchema, type Offer } from '../gen/countersign/statement/v1/partner_pb.ts'
import { equal, hex, sha256, type Bytes } from './bytes.ts'
import type { Chain } from './checks.ts'
import { envelopeFrom, type Envelope } from './envelope.ts'
import { Failed } from './errors.ts'
import type { Store } from './store.ts'

export interface LinkRow {
  /** `links/{hex of H(invitation)}`. */
  name: string
  invitation: Bytes
  partner: string
  /** Pinned. */
  identity: Bytes
  subject: string
  label: string
  acceptance: Bytes
  acceptanceDigest: Bytes
  linkKey: Bytes
  code: string
  expires: number
  confirmed: boolean
  ended: boolean
  order: number
}

export interface ChangeRow {
  source: Bytes
  recipient?: Bytes
  digest: Bytes
  index?: bigint
}

export interface GrantRow {
  name: string
  digest: Bytes
  sourceLink: string
  recipientLink: string
  sourceTerms: Bytes
  recipientTerms?: Bytes
  salts?: { source: Bytes; recipient: Bytes }
  offer?: Bytes
  /** The approval's record, once proven. */
  recorded?: bigint
  /** The broker says that no grant came of these terms; they were signed and sent, so they can be stopped all the same. */
  refused: boolean
  /** The broker has shown it once. */
  shown: boolean
  changes: ChangeRow[]
  /** A change that was signed and stands nowhere that this side has seen. */
  pending?: { source: Bytes; recipient: Bytes; refused: boolean; queued: boolean }
  /** When the source acknowledged the newest change, and which. */
  acknowledged?: { change: Bytes; at: number }
  order: number
}

export interface PreviewRow {
  digest: Bytes
  request: Bytes
  offer: Bytes
  at: number
  marks: { field: string; mac: Bytes }[]
}

export const termsOf = (row: GrantRow): GrantTerms => fromBinary(GrantTermsSchema, envelopeFrom(row.sourceTerms).payload)
export const offerOf = (row: GrantRow): Offer | undefined => row.offer && fromBinary(OfferSchema, envelopeFrom(row.offer).payload)
export const changeOf = (envelope: Bytes): GrantChange => fromBinary(GrantChangeSchema, envelopeFrom(envelope).payload)

export type Standing = 'active' | 'paused' | 'stopped' | 'superseded'

export function chainOf(row: GrantRow): Chain {
  const last = row.changes.at(-1)
  if (!last) return { terms: row.digest, sequence: 0n, last: row.digest }
  const said = changeOf(last.source)
  return { terms: row.digest, sequence: said.sequence, last: last.digest, verb: said.verb, erase: said.erase }
}

/** Where it stands by what was signed and seen to stand. */
export function standingOf(row: GrantRow): Standing {
  // An order to delete after a stop changes nothing in this.
  switch (chainOf(row).verb) {
    case GrantChange_Verb.PAUSE:
      return 'paused'
    case GrantChange_Verb.STOP:
      return 'stopped'
    case GrantChange_Verb.NARROW:
      return 'superseded'
    default:
      return 'active'
  }
}

export function successorOf(row: GrantRow): string | undefined {
  const last = row.changes.at(-1)
  const said = last && changeOf(last.source)
  return said?.verb === GrantChange_Verb.NARROW ? `grants/${hex(said.successor)}` : undefined
}

/** The change that ordered to delete, if any. */
export function eraseOrder(row: GrantRow): { digest: Bytes; said: GrantChange } | undefined {
  for (const change of row.changes) {
    const said = changeOf(change.source)
    if (said.erase) return { digest: change.digest, said }
  }
  return undefined
}

const MOST_PREVIEWS = 256

export class Book {
  constructor(private readonly store: Store) {}

  async links(): Promise<LinkRow[]> {
    return (await this.store.all<LinkRow>('links')).sort((a, b) => a.order - b.order)
  }
  link(name: string): Promise<LinkRow | undefined> {
    return this.store.get('links', name)
  }
  async linkOf(subject: string): Promise<LinkRow | undefined> {
    return (await this.links()).find((link) => link.subject === subject)
  }
  /** The newest link with a partner that stands. */
  async linkWith(partner: string): Promise<LinkRow | undefined> {
    return (await this.links()).filter((link) => link.partner === partner && stands(link)).at(-1)
  }
  async identityOf(partner: string): Promise<Bytes | undefined> {
    return (await this.links()).find((link) => link.partner === partner)?.identity
  }
  async enterLink(row: Omit<LinkRow, 'order'>): Promise<LinkRow> {
    const order = await this.next()
    return (await this.store.update<LinkRow>('links', row.name, (before) => before ?? { ...row, order }))!
  }
  changeLink(name: string, change: Partial<LinkRow>): Promise<LinkRow | undefined> {
    return this.store.update<LinkRow>('links', name, (row) => row && { ...row, ...change })
  }

  async grants(): Promise<GrantRow[]> {
    return (await this.store.all<GrantRow>('grants')).sort((a, b) => a.order - b.order)
  }
  grant(name: string): Promise<GrantRow | undefined> {
    return this.store.get('grants', name)
  }
  async mustHave(name: string): Promise<GrantRow> {
    const row = await this.grant(name)
    if (!row) throw new Failed({ kind: 'notNow', name, problem: 'unknown' })
    return row
  }
  /** Itself, unless it was narrowed. */
  async newest(name: string): Promise<GrantRow> {
    let row = await this.mustHave(name)
    const passed = new Set<string>()
    for (let next = successorOf(row); next && !passed.has(next); next = successorOf(row)) {
      passed.add(next)
      const found = await this.grant(next)
      if (!found) break
      row = found
    }
    return row
  }
  async enterGrant(row: Omit<GrantRow, 'order' | 'changes' | 'refused' | 'shown'> & { shown?: boolean }): Promise<GrantRow> {
    const order = await this.next()
    return (await this.store.update<GrantRow>('grants', row.name, (before) => before ?? { shown: false, ...row, changes: [], refused: false, order }))!
  }
  async changeGrant(name: string, change: (row: GrantRow) => GrantRow): Promise<GrantRow> {
    const row = await this.store.update<GrantRow>('grants', name, (before) => before && change(before))
    if (!row) throw new Failed({ kind: 'notNow', name, problem: 'unknown' })
    return row
  }
  /** The change stands: it is entered once, and is pending no more. */
  async enterChange(name: string, source: Bytes, index?: bigint): Promise<GrantRow> {
    const digest = await sha256(envelopeFrom(source).payload)
    return this.changeGrant(name, ({ pending, ...row }) => {
      const mine = pending && equal(envelopeFrom(pending.source).payload, envelopeFrom(source).payload) ? pending : undefined
      const at = row.changes.findIndex((one) => equal(one.digest, digest))
      const entered: ChangeRow = { ...row.changes[at], source, digest, ...(mine && { recipient: mine.recipient }), ...(index !== undefined && { index }) }
      const changes = at < 0 ? [...row.changes, entered] : row.changes.with(at, entered)
      // A pending change with a number that another one has by now can't stand any more.
      const left = mine || (pending && changeOf(pending.source).sequence <= BigInt(changes.length)) ? undefined : pending
      return { ...row, changes, ...(left && { pending: left }) }
    })
  }

  async previews(): Promise<PreviewRow[]> {
    return (await this.store.all<PreviewRow>('previews')).sort((a, b) => a.at - b.at)
  }
  async enterPreview(row: PreviewRow): Promise<void> {
    const rows = await this.previews()
    const over = rows.slice(0, Math.max(0, rows.length + 1 - MOST_PREVIEWS))
    await this.store.put(
      ...over.map((old) => ({ store: 'previews' as const, key: hex(old.digest), value: undefined })),
      { store: 'previews', key: hex(row.digest), value: row },
    )
  }

  private async next(): Promise<number> {
    return (await this.store.update<number>('meta', 'counted', (before) => (before ?? 0) + 1))!
  }
}

export const stands = (link: LinkRow): boolean => link.confirmed && !link.ended
export type { Envelope }
