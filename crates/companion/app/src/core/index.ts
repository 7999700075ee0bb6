/**
 * The contract between the screens and what signs, verifies, calls and remembers. No screen imports anything else of `core/`.
 *
 * Every verb throws `Failed` alone. A verb marked *gesture* asks for the passkey once (nothing where the keys are on this
 * device), and must be called from a tap. Nothing that is shown is by the broker's word unless the type says so.
 */
import type {
  Asking, AuthenticatorView, Change, Choice, ChosenRow, ClosingView, ErasureView, FieldPath, GrantView, InvitationView,
  LinkView, Name, Narrowing, PartnerName, PreviewView, ProofHandle, ProofView, ReceiptView, RequestView, Seen, Settings, Status,
  StopAllView, StopProgress, TimelineCursor, TimelineFilter, TimelinePage, WaitingView,
} from './types.ts'

export * from './types.ts'
export { Failed, failure, type CoreError, type Party } from './errors.ts'

/** What the app is told at its start. */
export interface Options {
  /** The person's languages, best first: in which texts are picked. Change it with `setLanguage`. */
  languages: readonly string[]
}

export interface Companion {
  /** What is known without a call. Never throws, never waits for the network. */
  status(): Status
  /** What a brand is called, by the broker's word; its id before that has come. */
  called(partner: PartnerName): string
  setLanguage(languages: readonly string[]): void
  /** Calls back as things change, here, in another tab, or at the broker. Returns what ends it. */
  watch(callback: (change: Change) => void): () => void

  /** What this device saw last of requests, grants and links, without a call. Nothing before the first answer. */
  seen(): Promise<Seen | undefined>

  // ── First use ────────────────────────────────────────────────────────────────────────────────────────────────────────
  /** *Gesture.* Makes a passkey and keys, and enters the customer. `noPrf`: nothing was made; ask for `'device'` then. */
  firstUse(where: 'passkey' | 'device', label: string): Promise<void>
  /** *Gesture.* Brings everything back with a passkey that was used before. */
  unlock(): Promise<void>

  // ── Linking ──────────────────────────────────────────────────────────────────────────────────────────────────────────
  /** Reads and verifies an invitation: the fragment (with or without `#`), a whole link, or the bare package. Keeps it in memory alone. */
  readInvitation(text: string): Promise<InvitationView>
  /** *Gesture.* Accepts the invitation that was read last. The same again gives the same code. */
  acceptInvitation(): Promise<LinkView>
  /** All links, oldest first. */
  links(): Promise<LinkView[]>

  // ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  /** All that were ever put before the customer, newest first. */
  requests(): Promise<WaitingView[]>
  readRequest(name: Name): Promise<RequestView>
  /** What would be signed by this choice, row by row. Throws `malformed` for a choice that is not within the request. */
  choose(request: RequestView, choice: Choice): ChosenRow[]
  /** *Gesture.* Signs every chosen row, sends them together, and verifies each proof. */
  approve(request: RequestView, choice: Choice): Promise<ReceiptView>
  refuse(request: Name): Promise<void>
  defer(request: Name): Promise<void>
  /** *Gesture.* The live values of one row, sealed to this device. Optional fields only if named. */
  preview(request: RequestView, row: number, fields?: FieldPath[]): Promise<PreviewView>
  /** The receipt of an approval that was given before. */
  receipt(request: Name): Promise<ReceiptView>

  // ── Grants ───────────────────────────────────────────────────────────────────────────────────────────────────────────
  /** All, newest first. Offline: what was last seen (see `status().online`). */
  grants(): Promise<GrantView[]>
  grant(name: Name): Promise<GrantView>
  /**
   * *Gesture.* Resolves once recorded (or queued, offline); `follow` goes on to stopped or notConfirmed. A pause and a stop are
   * sent even by a halted device.
   */
  pause(grant: Name): Promise<StopProgress>
  resume(grant: Name): Promise<StopProgress>
  stop(grant: Name, options?: { erase?: boolean }): Promise<StopProgress>
  /** *Gesture.* Stops what the broker lists and what this device remembers, in one call. */
  stopAll(options?: { erase?: boolean }): Promise<StopAllView>
  /** Calls back with each step of a grant's newest change until it is stopped or 60 s are over. Returns what ends it. */
  follow(grant: Name, callback: (progress: StopProgress) => void): () => void
  /** *Gesture.* Puts narrower terms in the grant's place; the new grant comes back. */
  narrow(grant: Name, narrowing: Narrowing): Promise<GrantView>
  /** *Gesture.* Gives leave for one fetch of the precise location, for five minutes at most. */
  tap(grant: Name): Promise<{ expires: number }>
  /** Every order to delete, the overdue first. */
  erasures(): Promise<ErasureView[]>

  // ── Timeline and proofs ──────────────────────────────────────────────────────────────────────────────────────────────
  /** Newest first. With `grant`, that grant's alone. */
  timeline(query?: { cursor?: TimelineCursor; filter?: TimelineFilter; grant?: Name }): Promise<TimelinePage>
  /** Fetches the proof of a record anew, and checks it step by step. Throws only where there was no answer: a lie is a step that fails. */
  proofOf(handle: ProofHandle): Promise<ProofView>

  // ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  settings(): Promise<Settings>
  setAsking(asking: Asking): Promise<void>
  endSilence(partner: PartnerName): Promise<void>
  /** *Two gestures*: one that opens the keys, one that makes the new passkey. */
  addAuthenticator(label: string): Promise<AuthenticatorView>
  /** *Gesture.* */
  removeAuthenticator(id: string): Promise<void>
  /** *Gesture.* Stops everything, then reports the root secret stolen. */
  reportStolen(): Promise<StopAllView>
  /** *Gesture.* A zip with the folder of `docs/export.md`, of which each file was checked before it goes in. */
  exportAll(progress?: (done: number) => void): Promise<Blob>
  /** *Gesture.* Stops and orders deletion, waits up to a minute for both sides, then erases the customer. `anyway` does not wait. */
  closeAccount(options?: { anyway?: boolean }): Promise<ClosingView>
  /** Forgets everything that is on this device, after `over` or on the person's word. */
  forget(): Promise<void>
}

/** Reads `broker.json` and the book, and begins to watch. Waits for no call to the broker. */
export { openCompanion as open } from './companion.ts'
