// Everything of a customer's follows from one root secret (protocol, section 18).
import { concat, own, sha256, utf8, type Bytes } from './bytes.ts'
import { signingKey, type SigningKey } from './ed25519.ts'

/** What derives: a root secret, or an authenticator's, that can't be read back. */
export type Deriving = CryptoKey

export const deriving = (secret: Uint8Array): Promise<Deriving> =>
  crypto.subtle.importKey('raw', own(secret), 'HKDF', false, ['deriveBits'])

/** HKDF-SHA256 without salt, 32 bytes. */
export async function derive(key: Deriving, ...info: readonly Uint8Array[]): Promise<Bytes> {
  const params = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: concat(...info) }
  return new Uint8Array(await crypto.subtle.deriveBits(params, key, 256))
}

async function derivedKey(root: Deriving, ...info: readonly Uint8Array[]): Promise<SigningKey & { handle?: CryptoKey }> {
  const secret = await derive(root, ...info)
  const key = await signingKey(secret)
  secret.fill(0)
  return key
}

export const callKey = (root: Deriving) => derivedKey(root, utf8('countersign/v1 call'))
/** The key of the link that comes of an invitation. */
export const linkKey = (root: Deriving, invitation: Uint8Array) => derivedKey(root, utf8('countersign/v1 link'), invitation)

const COPY = utf8('countersign/v1 wrapped copy')
const NUL = new Uint8Array(1)
export const WRAPPED_BYTES = 61

/** What the copy is asked for with, and by what the broker knows the authenticator. */
export async function lookup(secret: Deriving): Promise<{ lookup: Bytes; id: Bytes }> {
  const found = await derive(secret, utf8('countersign/v1 lookup'))
  return { lookup: found, id: await sha256(found) }
}

async function wrapping(secret: Deriving, origin: string) {
  const { id } = await lookup(secret)
  const bytes = await derive(secret, utf8('countersign/v1 wrap'))
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])
  bytes.fill(0)
  return { key, additionalData: concat(COPY, NUL, utf8(origin), NUL, id) }
}

/** A nonce is never used twice with one authenticator. */
export async function wrap(secret: Deriving, origin: string, nonce: Uint8Array, root: Uint8Array): Promise<Bytes> {
  const { key, additionalData } = await wrapping(secret, origin)
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: own(nonce), additionalData }, key, own(root))
  return concat(new Uint8Array([1]), nonce, new Uint8Array(sealed))
}

/** The root secret, or why the copy does not open. */
export async function unwrap(secret: Deriving, origin: string, wrapped: Uint8Array): Promise<Bytes | 'length' | 'version' | 'opens'> {
  if (wrapped.length !== WRAPPED_BYTES) return 'length'
  if (wrapped[0] !== 1) return 'version'
  const { key, additionalData } = await wrapping(secret, origin)
  const params = { name: 'AES-GCM', iv: own(wrapped.subarray(1, 13)), additionalData }
  try {
    return new Uint8Array(await crypto.subtle.decrypt(params, key, own(wrapped.subarray(13))))
  } catch {
    return 'opens'
  }
}
