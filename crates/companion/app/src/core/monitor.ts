// One log (protocol, section 12): every checkpoint that this device meets continues the largest one that it has proven.
import { AuditService } from '../gen/countersign/v1/audit_service_pb.ts'
import type { Calls } from './transport.ts'
import { equal, fromUtf8, type Bytes } from './bytes.ts'
import { Failed, misbehaved, type CoreError, type Party } from './errors.ts'
import { checkConsistency, readCheckpoint, type Head, type LogKey } from './log.ts'
import type { Store } from './store.ts'

/** A head whose proof the broker keeps back is an error after this. */
const OWED_MS = 60_000
const MOST_OWED = 256
/** Heads that were proven lately; those of receipts come in numbers. */
const MOST_KNOWN = 256

interface Fork {
  ours: Bytes
  theirs: Bytes
}

export class Monitor {
  private fork: Fork | undefined
  private readonly known = new Map<string, Head>()
  private readonly owed = new Map<string, { head: Head; since: number }>()

  constructor(
    private readonly key: LogKey,
    private readonly client: Calls,
    private readonly store: Store,
    private readonly halted: (error: CoreError) => void,
    private readonly now: () => number = Date.now,
  ) {}

  async load(): Promise<void> {
    this.fork = await this.store.get<Fork>('meta', 'fork')
    if (this.fork) this.halted(forked(this.fork))
  }

  /** Throws while the log has two faces, or the broker owes a proof for too long. */
  check(): void {
    if (this.fork) throw new Failed(forked(this.fork))
    for (const { since } of this.owed.values()) if (this.now() - since > OWED_MS) throw misbehaved('broker', 'checkpoint', 'consistency')
  }

  /** The head that this device has proven last. */
  async proven(): Promise<Head | undefined> {
    const note = await this.store.get<Bytes>('meta', 'head')
    const head = note && (await readCheckpoint(note, this.key))
    return typeof head === 'object' ? head : undefined
  }

  /** Takes a checkpoint that somebody handed over: signed by the log, and proven to continue what is known, or owed to be. */
  async take(note: Uint8Array, who: Party, what: string): Promise<Head> {
    const head = await readCheckpoint(note, this.key)
    if (typeof head === 'string') throw misbehaved(who, what, what === 'receipt' ? 'signature' : 'checkpoint')
    await this.hold(head)
    return head
  }

  /** Proves the newest published head, and whatever is owed. */
  async refresh(): Promise<Head> {
    this.check()
    const { checkpoint } = await this.client(AuditService).getCheckpoint({})
    const head = await this.take(checkpoint, 'broker', 'checkpoint')
    for (const { head: owed } of [...this.owed.values()]) await this.hold(owed)
    this.check()
    return head
  }

  /** What the live check of a proof shows: whether this head is one with what this device saw before. */
  async consistent(head: Head): Promise<'holds' | 'first'> {
    const before = await this.proven()
    await this.prove(head, before)
    return before ? 'holds' : 'first'
  }

  private async hold(head: Head): Promise<void> {
    const id = fromUtf8(head.note)
    if (this.known.has(id)) return
    const before = await this.proven()
    try {
      await this.prove(head, before)
    } catch (thrown) {
      // Nobody answered, or not with a proof: it is owed. What does not hold is thrown.
      const soft = thrown instanceof Failed && (thrown.error.kind === 'unreachable' || thrown.error.kind === 'refused' || thrown.error.kind === 'clock')
      if (!soft) throw thrown
      if (!this.owed.has(id) && this.owed.size < MOST_OWED) this.owed.set(id, { head, since: this.now() })
      return
    }
    this.owed.delete(id)
    if (this.known.size >= MOST_KNOWN) this.known.clear()
    this.known.set(id, head)
    // Another tab may have proven a larger one meanwhile: what was held against an older head does not take its place.
    await this.store.update<Bytes>('meta', 'head', (kept) => {
      const unchanged = kept ? before !== undefined && equal(kept, before.note) : before === undefined
      return unchanged && head.size > (before?.size ?? -1n) ? head.note : undefined
    })
  }

  private async prove(head: Head, before: Head | undefined): Promise<void> {
    if (!before || before.size === 0n || head.size === 0n) return
    if (before.size === head.size) {
      if (!equal(before.root, head.root)) await this.halt(before, head)
      return
    }
    const [older, newer] = before.size < head.size ? [before, head] : [head, before]
    const { hashes } = await this.client(AuditService).getConsistencyProof({ fromSize: older.size, toSize: newer.size })
    const wrong = await checkConsistency(older.size, older.root, newer.size, newer.root, hashes)
    if (wrong) await this.halt(before, head)
  }

  private async halt(ours: Head, theirs: Head): Promise<never> {
    const fork = { ours: ours.note, theirs: theirs.note }
    // Durable before anything else happens, and the first one stays.
    this.fork = (await this.store.update<Fork>('meta', 'fork', (before) => before ?? fork)) ?? fork
    this.halted(forked(this.fork))
    throw new Failed(forked(this.fork))
  }
}

const forked = ({ ours, theirs }: Fork): CoreError => ({ kind: 'forked', ours: fromUtf8(ours), theirs: fromUtf8(theirs) })
