// Where the root secret comes from: a passkey's PRF output opens its copy for one gesture, or it is kept in this browser where
// nothing can read it out (protocol, section 18).
import { hex, own, random, utf8, type Bytes } from './bytes.ts'
import { publicKey, signer, type SigningKey } from './ed25519.ts'
import { Failed, fail, misbehaved } from './errors.ts'
import { callKey, deriving, lookup, unwrap, wrap, type Deriving } from './hkdf.ts'
import type { Store } from './store.ts'

const PRF_INPUT = utf8('countersign/v1 root secret')
const GESTURE_MS = 120_000

/** What of the keys is on this device. */
export interface KeysRow {
  where: 'passkey' | 'device'
  customer: string
  /** Signs calls, and the customer's own changes: WebCrypto keeps it. */
  call: CryptoKey
  callPublic: Bytes
  /** With a passkey: which, and the copy that it opens. */
  credential?: Bytes
  authenticator?: Bytes
  wrapped?: Bytes
  /** On this device alone: the root secret, which can't be read out. */
  root?: CryptoKey
}

/** A gesture's worth of the root secret. */
export interface Unlocked {
  root: Deriving
  /** Its bytes, where a passkey opened them: they are wiped when the gesture is over. */
  bytes?: Bytes
}

/** A passkey that was asked once: what it derives from, and which it is. */
export interface Authenticator {
  secret: Deriving
  credential: Bytes
  id: Bytes
  lookup: Bytes
}

export async function callKeyOf(row: KeysRow): Promise<SigningKey> {
  const key = await publicKey(row.callPublic)
  if (!key) throw new Failed({ kind: 'storage', problem: 'damaged' })
  return signer(key, row.call)
}

export async function keysRow(where: KeysRow['where'], root: Deriving): Promise<KeysRow> {
  const call = await callKey(root)
  if (!call.handle) return fail({ kind: 'unsupported', missing: 'ed25519' })
  return { where, customer: `customers/${call.id}`, call: call.handle, callPublic: call.bytes, ...(where === 'device' && { root }) }
}

/** Asks for one gesture, and forgets what it opened when the work is done. */
export async function unlocked<T>(store: Store, origin: string, work: (with_: Unlocked, keys: KeysRow) => Promise<T>): Promise<T> {
  const keys = await store.get<KeysRow>('meta', 'keys')
  if (!keys) return fail({ kind: 'noKeys' })
  if (keys.where === 'device') {
    if (!keys.root) return fail({ kind: 'storage', problem: 'damaged' })
    return work({ root: keys.root }, keys)
  }
  const authenticator = await askPasskey(keys.credential && [keys.credential])
  const bytes = keys.wrapped ? await unwrap(authenticator.secret, origin, keys.wrapped) : 'opens'
  if (typeof bytes === 'string') return fail({ kind: 'notMine' })
  try {
    const root = await deriving(bytes)
    const call = await callKey(root)
    if (`customers/${call.id}` !== keys.customer) return fail({ kind: 'notMine' })
    return await work({ root, bytes }, keys)
  } finally {
    bytes.fill(0)
  }
}

/** The root secret of whoever has nothing but a passkey, by the copy that the broker keeps. */
export async function openCopy(authenticator: Authenticator, origin: string, wrapped: Uint8Array, customer: string): Promise<{ keys: KeysRow; root: Deriving; bytes: Bytes }> {
  const bytes = await unwrap(authenticator.secret, origin, wrapped)
  if (typeof bytes === 'string') throw misbehaved('broker', 'wrapped_copy', 'opens')
  const root = await deriving(bytes)
  const keys = await keysRow('passkey', root)
  if (keys.customer !== customer) throw misbehaved('broker', 'wrapped_copy', 'customer')
  return { keys: { ...keys, credential: authenticator.credential, authenticator: authenticator.id, wrapped: own(wrapped) }, root, bytes }
}

export const wrapFor = (authenticator: Authenticator, origin: string, root: Uint8Array): Promise<Bytes> =>
  wrap(authenticator.secret, origin, random(12), root)

// ── Passkeys ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

function credentials(): CredentialsContainer {
  const found = (globalThis.navigator as Navigator | undefined)?.credentials
  if (!found || typeof PublicKeyCredential === 'undefined') return fail({ kind: 'unsupported', missing: 'webauthn' })
  return found
}

async function gesture(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const found = await ask()
    if (found instanceof PublicKeyCredential) return found
  } catch (thrown) {
    const name = thrown instanceof DOMException ? thrown.name : ''
    if (name === 'NotSupportedError' || name === 'SecurityError') fail({ kind: 'unsupported', missing: 'webauthn' })
    // Dismissed, timed out, or this passkey is known already: nothing was signed.
  }
  return fail({ kind: 'cancelled' })
}

function prfOf(credential: PublicKeyCredential): Bytes | undefined {
  const found = credential.getClientExtensionResults().prf?.results?.first
  if (!found) return undefined
  return found instanceof ArrayBuffer ? new Uint8Array(found.slice(0)) : own(new Uint8Array(found.buffer, found.byteOffset, found.byteLength))
}

async function authenticatorOf(credential: PublicKeyCredential, prf: Bytes): Promise<Authenticator> {
  const secret = await deriving(prf)
  prf.fill(0)
  return { secret, credential: new Uint8Array(credential.rawId.slice(0)), ...(await lookup(secret)) }
}

export async function askPasskey(allowed?: readonly Bytes[]): Promise<Authenticator> {
  const found = await gesture(() =>
    credentials().get({
      publicKey: {
        challenge: random(32),
        timeout: GESTURE_MS,
        userVerification: 'required',
        allowCredentials: (allowed ?? []).map((id) => ({ type: 'public-key', id })),
        extensions: { prf: { eval: { first: PRF_INPUT } } },
      },
    }),
  )
  const prf = prfOf(found)
  return prf ? authenticatorOf(found, prf) : fail({ kind: 'noPrf' })
}

/** Makes a passkey. Some give the PRF's output at once, others when they are asked again: that is a second dialogue of theirs. */
export async function makePasskey(label: string, excluded: readonly Bytes[] = []): Promise<Authenticator> {
  const made = await gesture(() =>
    credentials().create({
      publicKey: {
        challenge: random(32),
        timeout: GESTURE_MS,
        rp: { name: 'Countersign' },
        // The handle is no name of anybody: it is drawn for this passkey.
        user: { id: random(32), name: label, displayName: label },
        // ES256 and RS256 beside EdDSA, since not every authenticator has that. What signs here is not the passkey.
        pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        excludeCredentials: excluded.map((id) => ({ type: 'public-key', id })),
        attestation: 'none',
        extensions: { prf: { eval: { first: PRF_INPUT } } },
      },
    }),
  )
  const prf = prfOf(made)
  if (prf) return authenticatorOf(made, prf)
  if (made.getClientExtensionResults().prf?.enabled !== true) return fail({ kind: 'noPrf' })
  return askPasskey([new Uint8Array(made.rawId.slice(0))])
}

export const authenticatorName = (id: Uint8Array): string => hex(id)
