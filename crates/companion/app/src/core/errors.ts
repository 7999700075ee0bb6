/** Whose word does not hold: the broker's, or a partner's by its name. */
export type Party = 'broker' | 'customer' | `partners/${string}`

/** Why a verb did not do what it was asked. `kind` says whose fault it is, and so what a person can do. */
export type CoreError =
  /** The broker, or through it the source, says no. `reason` is the API's, such as `WRONG_STATE`. */
  | { kind: 'refused'; reason: string; code: number; metadata: Readonly<Record<string, string>>; retryAfterMs?: number }
  /** Somebody handed over what does not verify; nothing of it was used. `what` and `check` are stable words of the protocol. */
  | { kind: 'misbehaved'; who: Party; what: string; check: string }
  /** No answer. Whether the call had an effect is not known; what was signed is kept, and sent again as it is. */
  | { kind: 'unreachable'; offline: boolean }
  /** The log showed two faces. Everything but stops halts until a person has looked. */
  | { kind: 'forked'; ours: string; theirs: string }
  /** The device's storage can't be used, was cleared, or is of an older or newer app. */
  | { kind: 'storage'; problem: 'blocked' | 'full' | 'cleared' | 'version' | 'damaged' }
  /** This device's clock and the broker's are too far apart; which one is wrong, nobody can tell. */
  | { kind: 'clock' }
  /** The person dismissed the passkey's dialogue, or it timed out. Nothing was signed. */
  | { kind: 'cancelled' }
  /** The passkey has no PRF. `create` and `firstUse` may go on with keys on this device alone. */
  | { kind: 'noPrf' }
  /** This passkey opens no copy: it is removed, reported stolen, or never was one. */
  | { kind: 'notMine' }
  /** The browser lacks something that nothing stands in for, such as Ed25519. */
  | { kind: 'unsupported'; missing: 'webcrypto' | 'ed25519' | 'x25519' | 'indexeddb' | 'webauthn' }
  /** There are no keys on this device yet. */
  | { kind: 'noKeys' }
  /** An invitation or another thing that was handed over is not of its form. `what` names it, `check` says why. */
  | { kind: 'malformed'; what: 'invitation' | 'broker.json' | 'choice' | 'narrowing' | 'name' | 'asking' | 'label'; check: string }
  /** The invitation's time is over: the partner makes a new one. */
  | { kind: 'invitationExpired' }
  /** What is asked can't be in the state that the thing is in. */
  | { kind: 'notNow'; name: string; problem: 'stopped' | 'superseded' | 'paused' | 'notPaused' | 'unknown' | 'noTap' | 'notLinked' | 'nothing' | 'widened' | 'last' | 'ended' }
  /** `broker.json` names another broker than the one that this device knows. */
  | { kind: 'otherBroker'; known: string; found: string }
  /** The account was closed, with or without the broker's proof, or its keys reported stolen, from this device. */
  | { kind: 'over'; how: 'closed' | 'unproven' | 'stolen' }

/** What is thrown. Only this is thrown on purpose; anything else is a defect of the app. */
export class Failed extends Error {
  override readonly name = 'Failed'
  constructor(readonly error: CoreError) {
    super(describe(error))
  }
  /** Whether the same call may succeed a little later. */
  get transient(): boolean {
    // gRPC: 14 UNAVAILABLE, 4 DEADLINE_EXCEEDED.
    return this.error.kind === 'unreachable' || (this.error.kind === 'refused' && (this.error.code === 14 || this.error.code === 4))
  }
  /**
   * Whether the broker judged what was asked and says no. A call that was turned away for its token, or for coming too soon,
   * was never looked at, and one that failed within the broker may have been carried out.
   */
  get no(): boolean {
    if (this.error.kind !== 'refused' || this.transient) return false
    // gRPC: 16 UNAUTHENTICATED, 13 INTERNAL, 2 UNKNOWN; and 8 RESOURCE_EXHAUSTED, where time helps.
    const { code, retryAfterMs } = this.error
    return code !== 16 && code !== 13 && code !== 2 && !(code === 8 && retryAfterMs !== undefined)
  }
  /** Whether this device does nothing more until a person has looked. */
  get halts(): boolean {
    return this.error.kind === 'forked' || this.error.kind === 'storage'
  }
}

/** What a thrown value is to the app; a defect is thrown on. */
export function failure(thrown: unknown): CoreError {
  if (thrown instanceof Failed) return thrown.error
  throw thrown
}

/** Throws. */
export const fail = (error: CoreError): never => {
  throw new Failed(error)
}

/** Somebody's word does not verify. */
export const misbehaved = (who: Party, what: string, check: string): Failed => new Failed({ kind: 'misbehaved', who, what, check })

/** Names and codes alone, never a value: it may end in a console. */
function describe(error: CoreError): string {
  switch (error.kind) {
    case 'refused':
      return `refused: ${error.reason}`
    case 'misbehaved':
      return `${error.who}: ${error.what}: ${error.check}`
    case 'malformed':
      return `${error.what}: ${error.check}`
    case 'notNow':
      return `not now: ${error.problem}`
    default:
      return error.kind
  }
}
