// What screens draw. Plain values, all of it verified unless it says "by the broker's word".
import type { CoreError } from './errors.ts'

/** Unix milliseconds. */
export type Millis = number
/** A resource name, such as `grants/{64 hex}`. */
export type Name = string
/** `partners/{id}`. */
export type PartnerName = `partners/${string}`
/** `resource.field`. */
export type FieldPath = string

/** A brand. */
export interface BrandView {
  name: PartnerName
  /** By the broker's word, which is all that a broker can have of a name. */
  displayName: string
  /** How the customer calls the account there; empty if it was linked on another device, absent if not linked. */
  label?: string
  linked: boolean
  /** A staffed number: the one in a verified offer if there is one. */
  phone?: string
}

/** A text of an offer in one language. */
export interface TextView {
  /** BCP 47. */
  language: string
  /** The person's language is not among the offer's: say so. */
  fallback: boolean
  reason: string
  benefit: string
  /** When it ends, in the brand's words. */
  ends: string
}

/** One field, with the catalogue's title. */
export interface FieldView {
  path: FieldPath
  title: string
  /** The title's language is not the person's. */
  fallback: boolean
  provenance: 'provided' | 'observed'
  /** A precise location: it leaves by a tap alone, and is not previewed. */
  needsTap: boolean
}

export interface PurposeView {
  code: string
  title: string
  fallback: boolean
}

export type BenefitKind = 'discount' | 'oneTap' | 'specialService' | 'timely' | 'advice' | 'crossPlatform'

export interface RateView {
  uses: number
  windowSeconds: number
}

/** What holds for an offered row, and for terms that were signed under it. */
export interface TermsView {
  source: BrandView
  recipient: BrandView
  purpose: PurposeView
  text: TextView
  benefitKind: BenefitKind
  /** May be fetched so often in all. */
  uses: number
  rate?: RateView
  /** Kept so long after the end. */
  retentionSeconds: number
  law: string
  controller: string
  complaintBody: string
  contactPhone: string
}

export type RequestState = 'requested' | 'deferred' | 'approved' | 'refused' | 'lapsed' | 'cancelled'

/** A request in a list: by the broker's word, so good for a name and a badge, and no more. */
export interface WaitingView {
  name: Name
  requester: BrandView
  state: RequestState
  rows: number
  createdAt: Millis
  expires: Millis
}

/** A request that verified: signatures of requester and recipients, catalogue by its hash, offers within it. */
export interface RequestView {
  name: Name
  requester: BrandView
  /** By the broker's word. */
  state: RequestState
  createdAt: Millis
  expires: Millis
  rows: RowView[]
  /** The grants that came of it, once approved. */
  grants: Name[]
}

export interface RowView extends TermsView {
  /** From 1. */
  number: number
  /** Can be left out; starts switched off. */
  optional: boolean
  /** The grant that it renews: with its approval that one ends. */
  renews?: Name
  required: FieldView[]
  /** May be added one by one; start switched off. */
  addable: FieldView[]
  /** The longest that the grant may stand. */
  durationSeconds: number
  /** The sides that are not linked yet. With any, the row can't be approved. */
  missing: BrandView[]
}

/** What the person chose. What is not named is as the offer says, optional things off. */
export interface Choice {
  /** Optional rows that are switched on, by number. */
  rows: number[]
  /** By row number: optional fields that are switched on, and what the person cut down. */
  changed?: Record<number, { fields?: FieldPath[]; uses?: number; retentionSeconds?: number; durationSeconds?: number }>
}

/** A row's terms exactly as they will be signed: draw this before Approve, for it is what the bytes are made of. */
export interface ChosenRow {
  number: number
  fields: FieldView[]
  uses: number
  rate?: RateView
  retentionSeconds: number
  /** As of now; the signature fixes it. */
  expires: Millis
}

/** The plain copy of an approval. */
export interface ReceiptView {
  request: Name
  approvedAt: Millis
  requester: BrandView
  rows: ReceiptRow[]
  /** A file for a person to keep: JSON with terms, offers and proofs. */
  file: () => Promise<Blob>
}

export interface ReceiptRow {
  grant: Name
  /** By which a person on the phone finds it, and stops it: the log's tag, shortened. */
  code: string
  terms: TermsView
  fields: FieldView[]
  expires: Millis
  proof: ProofHandle
}

/** What to give to `proofOf`. */
export interface ProofHandle {
  index: number
}

export type GrantState = 'active' | 'paused' | 'suspended' | 'withdrawn' | 'revoked' | 'expired' | 'consumed' | 'superseded' | 'unconfirmed'

export interface GrantView {
  name: Name
  terms: TermsView
  fields: FieldView[]
  /**
   * What the customer signed outweighs the broker's word. `unconfirmed`: signed and sent, and the broker has not shown it;
   * it can be stopped like any other.
   */
  state: GrantState
  approvedAt: Millis
  expires: Millis
  /** By the broker's word. */
  useCount: number
  /** Why it is suspended or revoked: a code such as `SECURITY`; empty otherwise. */
  reason: string
  previous?: Name
  successor?: Name
  request: Name
  code: string
  /** The approval's record. */
  proof?: ProofHandle
  /** The newest pause or stop, as far as it has come. */
  stop?: StopProgress
  erasure?: ErasureView
  /** Changes that wait on this device to be sent: they have no effect yet. */
  queued: boolean
  /** A partner's word on this grant that does not verify; it counts as absent. */
  fault?: CoreError
}

/** How far a stop (or pause) has come. `sending` → `recorded` → `stopped`, or `notConfirmed` 60 s after it was recorded. */
export interface StopProgress {
  grant: Name
  verb: 'pause' | 'resume' | 'stop'
  state: 'queued' | 'sending' | 'recorded' | 'stopped' | 'notConfirmed' | 'refused'
  /** When the source said so. */
  at?: Millis
  /** The source said it of a later change, which includes this one. */
  later?: boolean
  proof?: ProofHandle
  error?: CoreError
  source: BrandView
}

/** Where an order to delete stands, by what was signed. */
export interface ErasureView {
  grant: Name
  recipient: BrandView
  due: Millis
  /** When the recipient deleted, by its own signed word, which verified. */
  attestedAt?: Millis
  overdue: boolean
}

/** What of a grant is cut down. Nothing can be widened. */
export interface Narrowing {
  fields?: FieldPath[]
  uses?: number
  retentionSeconds?: number
  expires?: Millis
}

export interface PreviewView {
  row: number
  values: { field: FieldView; value: string }[]
  /** Those of the row that are shown when she taps. */
  onTap: FieldView[]
  at: Millis
  proof: ProofHandle
}

export type EntryKind =
  | 'transfer' | 'again' | 'refused' | 'notReleased' | 'previewed'
  | 'approved' | 'paused' | 'resumed' | 'withdrawn' | 'superseded'
  | 'suspended' | 'unsuspended' | 'revoked' | 'suspendedByOperator' | 'unsuspendedByOperator' | 'revokedByOperator'
  | 'expiring' | 'acknowledged' | 'notice' | 'tapped'
  | 'erasureOrdered' | 'erasureAttested' | 'erasureOverdue'
  | 'requestCreated' | 'requestShown' | 'requestDeferred' | 'requestRefused' | 'requestCancelled' | 'requestLapsed'
  | 'linkInvited' | 'linkAccepted' | 'linkConfirmed' | 'linkReplaced' | 'linkStolen'
  | 'authenticatorAdded' | 'authenticatorRemoved' | 'stolen' | 'askingChanged' | 'customerCreated' | 'other'

/** One record of the log that concerns the customer. */
export interface TimelineEntry {
  index: number
  at: Millis
  kind: EntryKind
  source?: BrandView
  recipient?: BrandView
  /** The partner that acknowledged, or the like. */
  purpose?: PurposeView
  /** A code. */
  reason: string
  grant?: Name
  request?: Name
  fields: FieldView[]
  useNumber: number
  proof: ProofHandle
  /** Of a grant's first transfer: what it moved, held against what the person looked at before. */
  compared?: { field: FieldView; since: 'same' | 'changed' | 'unseen' }[]
}

export interface TimelinePage {
  /** Newest first; the next page goes on below. */
  entries: TimelineEntry[]
  /** Absent at the end. */
  next?: TimelineCursor
}
export type TimelineCursor = string
export type TimelineFilter = 'all' | 'transfers' | 'refusals' | 'changes'

/** One step of a live check. `first`: holds, for there was nothing earlier to hold it against. */
export interface CheckStep {
  check: 'signature' | 'inclusion' | 'consistency' | 'commitments' | 'statement'
  result: 'holds' | 'first' | 'fails' | 'notChecked'
  error?: CoreError
}

export interface ProofView {
  holds: boolean
  steps: CheckStep[]
  index: number
  size: number
  /** Lower-case hex. */
  root: string
  leaf: string
  recordedAt: Millis
  /** The `tlog-proof` file, which anybody can check without us. */
  file: string
}

/** An invitation that verified and is not accepted yet. */
export interface InvitationView {
  brand: BrandView
  /** How the brand says the person knows the account. */
  label: string
  expires: Millis
  /** It takes the place of an earlier link. */
  replaces: boolean
}

/** An accepted invitation: the code goes back into the partner's own session. */
export interface LinkView {
  name: Name
  brand: BrandView
  label: string
  /** Six digits; empty on a device that did not draw it, or once confirmed. */
  code: string
  state: 'accepted' | 'confirmed' | 'lapsed' | 'ended'
  expires: Millis
  /** Where the code goes back to, if the brand signed where: an address with the code in its fragment. */
  returnTo?: string
}

export interface AuthenticatorView {
  /** Lower-case hex. */
  id: string
  /** What it was called on this device; empty otherwise. */
  label: string
  addedAt: Millis
  thisDevice: boolean
}

/** What is on this device. */
export interface Status {
  /** `none`: first use. `passkey`, `device`: where the keys are. `over`: closed or reported stolen. */
  keys: 'none' | 'passkey' | 'device' | 'over'
  customer?: Name
  /** Whether the broker answered the last call. */
  online: boolean
  /** When the broker was last heard. */
  lastSeen?: Millis
  /** Stops that are signed and wait to be sent. */
  queued: number
  /** Only where `keys` is `over`. */
  over?: OverView
  /** Set once the log showed two faces, or the like: every screen shows it. */
  halted?: CoreError
  broker: { origin: string; address: string; logKey: string }
}

/** How the customer's story ended on this device, and what it left that she should see to herself. */
export interface OverView {
  how: 'closed' | 'unproven' | 'stolen'
  /** The record that says so. */
  index?: number
  /** Grants whose stop was not recorded, or which a brand has not heard: only its own app or a person there can stop them now. */
  left: { source: string; recipient: string; brand: string; phone: string }[]
  /** Why the broker's list was no measure of what stood. */
  list?: CoreError
}

export interface Asking {
  timeZone: string
  quiet?: { fromMinute: number; untilMinute: number }
  /** 0: the broker's default. */
  perDay: number
  perWeek: number
  paused: boolean
}

export interface Settings {
  asking: Asking
  silences: { brand: BrandView; until: Millis }[]
  authenticators: AuthenticatorView[]
  /** Every number that a verified offer named. */
  phones: { brand: BrandView; phone: string }[]
}

/** Something changed: draw anew what it touches. */
export type Change =
  | { what: 'requests' }
  | { what: 'grants'; name?: Name }
  | { what: 'links' }
  | { what: 'timeline' }
  | { what: 'settings' }
  | { what: 'status' }

export interface ClosingView {
  state: 'closed' | 'unproven' | 'waits'
  /** Who has not acknowledged a stop yet. */
  unheard: { grant: Name; brand: BrandView }[]
  notStopped: { grant: Name; error: CoreError }[]
  list?: CoreError
}

/** What came of stopping everything. */
export interface StopAllView {
  each: StopProgress[]
  /** Why the broker's list is no measure of what stands; this device's own book was stopped all the same. */
  list?: CoreError
}

/** What a device saw last. */
export interface Seen {
  requests: WaitingView[]
  grants: GrantView[]
  links: LinkView[]
}
