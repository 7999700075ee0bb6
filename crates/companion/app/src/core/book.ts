// The customer's book (protocol, section 16): whom she is linked with and under which identity, and what was signed. Each row
// is on disk before what it tells of leaves, and what was signed is never forgotten, whatever a broker answers.

import { hex, type Bytes } from './bytes.ts'
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
  /** Where the partner, in what it signed, wants the code. */
  returnAddress?: string
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

const MOST_PREVIEWS = 256

export class Book {
  constructor(private readonly store: Store) {}

  /** Every screen names brands by it: it is read once, and again after a change, here or in another tab. */
  private read: Promise<LinkRow[]> | undefined

  links(): Promise<LinkRow[]> {
    this.read ??= this.store.all<LinkRow>('links').then((rows) => rows.sort((a, b) => a.order - b.order))
    this.read.catch(() => this.forget())
    return this.read.then((rows) => [...rows])
  }
  /** Another tab may have changed what was read. */
  forget(): void {
    this.read = undefined
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
    return (await this.store.update<LinkRow>('links', row.name, (before) => before ?? { ...row, order }).finally(() => this.forget()))!
  }
  changeLink(name: string, change: Partial<LinkRow>): Promise<LinkRow | undefined> {
    return this.store.update<LinkRow>('links', name, (row) => row && { ...row, ...change }).finally(() => this.forget())
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
  async enterGrant(row: Omit<GrantRow, 'order' | 'changes' | 'refused' | 'shown'> & { shown?: boolean }): Promise<GrantRow> {
    const order = await this.next()
    return (await this.store.update<GrantRow>('grants', row.name, (before) => before ?? { shown: false, ...row, changes: [], refused: false, order }))!
  }
  async changeGrant(name: string, change: (row: GrantRow) => GrantRow): Promise<GrantRow> {
    const row = await this.store.update<GrantRow>('grants', name, (before) => before && change(before))
    if (!row) throw new Failed({ kind: 'notNow', name, problem: 'unknown' })
    return row
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
