// What all verbs share: the book, the calls, the log's monitor, and who is told of changes.
import { CatalogueService } from '../gen/countersign/v1/catalogue_service_pb.ts'
import { PartnerService } from '../gen/countersign/v1/partner_service_pb.ts'
import { hex, type Bytes } from './bytes.ts'
import { Book } from './book.ts'
import type { Catalogue } from './catalogue.ts'
import type { SigningKey } from './ed25519.ts'
import { Failed, misbehaved, type CoreError, type Party } from './errors.ts'
import { callKeyOf, unlocked, type KeysRow, type Unlocked } from './keys.ts'
import { Monitor } from './monitor.ts'
import type { ProvenLeaf, Saying } from './receipt.ts'
import { blame } from './refusal.ts'
import { Store } from './store.ts'
import { connect, type Calls } from './transport.ts'
import type { Trust } from './trust.ts'
import type { Change, OverView, Status } from './types.ts'
import type { Receipt } from '../gen/countersign/v1/receipt_pb.ts'
import type { GrantTerms } from '../gen/countersign/statement/v1/grant_pb.ts'

/** How far the broker's clock may lie from this device's. */
export const SKEW_MS = 120_000

/** How this customer's story ended, on this device. */
export type OverRow = OverView

export interface PartnerRow {
  displayName: string
  phone: string
}

export class Core {
  readonly book: Book
  readonly monitor: Monitor
  readonly client: Calls
  languages: readonly string[] = ['en']
  keys: KeysRow | undefined
  over: OverRow | undefined
  partners: Record<string, PartnerRow> = {}
  private call: SigningKey | undefined
  private online = true
  private lastSeen: number | undefined
  private halted: CoreError | undefined
  queued = 0
  private readonly listeners = new Set<(change: Change) => void>()
  private readonly catalogues = new Map<string, Promise<Catalogue>>()
  private readonly channel: BroadcastChannel | undefined

  private constructor(readonly store: Store, readonly trust: Trust) {
    this.book = new Book(store)
    this.client = connect(trust, () => this.call, (there) => this.heard(there))
    this.monitor = new Monitor(trust.logKey, this.client, store, (error) => {
      this.halted = error
      this.tell({ what: 'status' })
    })
    if (typeof BroadcastChannel !== 'undefined') {
      this.channel = new BroadcastChannel('countersign')
      this.channel.onmessage = ({ data }: MessageEvent<Change>) => void this.heardFromTab(data)
    }
  }

  static async open(store: Store, trust: Trust): Promise<Core> {
    const core = new Core(store, trust)
    await Promise.all([core.reload(), core.monitor.load()])
    return core
  }

  /** Reads again what another tab, or a verb, changed. */
  async reload(): Promise<void> {
    this.book.forget()
    const meta = <T>(key: string) => this.store.get<T>('meta', key)
    const [keys, over, partners, lastSeen, grants] = await Promise.all([
      meta<KeysRow>('keys'), meta<OverRow>('over'), meta<Record<string, PartnerRow>>('partners'), meta<number>('lastSeen'), this.book.grants(),
    ])
    this.call = keys && (await callKeyOf(keys))
    this.keys = keys
    this.over = over
    this.partners = partners ?? {}
    this.lastSeen = lastSeen
    this.queued = grants.filter((row) => row.pending?.queued).length
  }

  private async heardFromTab(change: Change): Promise<void> {
    await this.reload()
    for (const listener of this.listeners) listener(change)
  }

  private heard(there: boolean): void {
    if (there) {
      this.lastSeen = Date.now()
      void this.store.note({ store: 'meta', key: 'lastSeen', value: this.lastSeen }).catch(() => undefined)
    }
    if (there === this.online) return
    this.online = there
    this.tell({ what: 'status' })
  }

  get origin(): string {
    return this.trust.origin
  }
  now(): number {
    return Date.now()
  }
  get customer(): string {
    if (this.over) throw new Failed({ kind: 'over', how: this.over.how })
    if (!this.keys) throw new Failed({ kind: 'noKeys' })
    return this.keys.customer
  }
  get callKey(): SigningKey {
    void this.customer
    return this.call!
  }

  status(): Status {
    return {
      keys: this.over ? 'over' : (this.keys?.where ?? 'none'),
      ...(this.over && { over: this.over }),
      ...(this.keys && { customer: this.keys.customer }),
      online: this.online,
      ...(this.lastSeen !== undefined && { lastSeen: this.lastSeen }),
      queued: this.queued,
      ...(this.halted && { halted: this.halted }),
      broker: { origin: this.trust.origin, address: this.trust.address, logKey: this.trust.logKeyText },
    }
  }

  watch(listener: (change: Change) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  get watched(): boolean {
    return this.listeners.size > 0
  }
  tell(change: Change): void {
    for (const listener of this.listeners) listener(change)
    this.channel?.postMessage(change)
  }

  /** One gesture. */
  unlocked<T>(work: (unlocked: Unlocked) => Promise<T>): Promise<T> {
    void this.customer
    return unlocked(this.store, this.origin, work)
  }

  /** A catalogue, by the hash of its document. Catalogues never change, so each is fetched once. */
  catalogue(version: Uint8Array): Promise<Catalogue> {
    const id = hex(version)
    const known = this.catalogues.get(id)
    if (known) return known
    const fetched = (async () => {
      const kept = await this.store.get<Bytes>('seen', `catalogues/${id}`)
      const document = kept ?? (await this.client(CatalogueService).getCatalogue({ name: `catalogues/${id}` })).document
      const { readCatalogue } = await import('./catalogue.ts')
      const catalogue = await readCatalogue(document)
      if (!catalogue) throw misbehaved('broker', 'catalogue', 'rules')
      if (hex(catalogue.version) !== id) throw misbehaved('broker', 'catalogue', 'version')
      if (!kept) await this.store.note({ store: 'seen', key: `catalogues/${id}`, value: document })
      return catalogue
    })()
    fetched.catch(() => this.catalogues.delete(id))
    this.catalogues.set(id, fetched)
    return fetched
  }

  /** A receipt's proof, and that it says this. */
  async proven(receipt: Receipt | undefined, saying?: Saying): Promise<ProvenLeaf> {
    const { prove, says } = await import('./receipt.ts')
    try {
      const leaf = await prove(receipt, (note) => this.monitor.take(note, 'broker', 'receipt'))
      if (saying) await says(leaf, saying)
      return leaf
    } catch (thrown) {
      if (thrown instanceof Failed) throw thrown
      throw blame('broker', 'receipt', thrown)
    }
  }

  /** What a record about a grant must say, from its terms. */
  saying(terms: GrantTerms, rest: Pick<Saying, 'kinds'> & Partial<Saying> & { since: bigint }): Saying {
    const { since, ...more } = rest
    return {
      source: terms.source, recipient: terms.recipient, purpose: terms.purpose, catalogueVersion: terms.catalogueVersion, grantTag: terms.logTag,
      subject: this.customer, notBefore: Number(since) - SKEW_MS, notAfter: this.now() + SKEW_MS, ...more,
    }
  }

  /** A partner's head in a statement is signed by the log, and one with ours. */
  async head(note: Uint8Array, who: string, what: string): Promise<void> {
    await this.monitor.take(note, who as Party, what)
  }

  /** What the device shows while nobody answers. */
  async remembered<T>(key: string, fetch: () => Promise<T>): Promise<T> {
    try {
      const value = await fetch()
      await this.store.note({ store: 'seen', key, value })
      return value
    } catch (thrown) {
      const kept = thrown instanceof Failed && thrown.error.kind === 'unreachable' ? await this.store.get<T>('seen', key) : undefined
      if (kept === undefined) throw thrown
      return kept
    }
  }

  /** Names and numbers of the brands, by the broker's word. */
  async learnPartners(names: Iterable<string>): Promise<void> {
    const missing = [...new Set(names)].filter((name) => name !== '' && !(name in this.partners))
    if (missing.length === 0) return
    for (const name of missing) {
      try {
        const { displayName, contactPhone } = await this.client(PartnerService).getPartner({ name })
        this.partners = { ...this.partners, [name]: { displayName, phone: contactPhone } }
      } catch (thrown) {
        if (!(thrown instanceof Failed)) throw thrown
      }
    }
    await this.store.put({ store: 'meta', key: 'partners', value: this.partners })
  }
}
