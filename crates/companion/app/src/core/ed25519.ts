// Ed25519 keys and signatures (protocol, section 1), by WebCrypto. WebCrypto checks the equation without the cofactor, and that S
// is below the order; what it leaves to its maker is checked here: keys and R of small order, keys not in their one encoding.
import { base64url, equal, fromBase64url, fromHex, own, sha256, utf8, type Bytes } from './bytes.ts'

const P = (1n << 255n) - 19n
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n

/** The y coordinates of the eight points of small order. */
const SMALL = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(fromHex)

export interface PublicKey {
  bytes: Bytes
  /** The RFC 7638 thumbprint. */
  id: string
}

export interface SigningKey extends PublicKey {
  sign(message: Uint8Array): Promise<Bytes>
}

function little(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

/** Whether it encodes a point of small order, canonically or not: R may be either. */
function isSmall(point: Uint8Array): boolean {
  const y = own(point)
  y[31]! &= 0x7f
  const value = little(y) % P
  return SMALL.some((small) => little(small) === value)
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % P) if (exponent & 1n) result = (result * base) % P
  return result
}

/** Whether there is an x: (y² − 1) / (dy² + 1) is a square. */
function isPoint(y: bigint): boolean {
  const square = (y * y) % P
  const ratio = ((square + P - 1n) * power((D * square + 1n) % P, P - 2n)) % P
  return ratio === 0n || power(ratio, (P - 1n) / 2n) === 1n
}

const known = new Map<string, PublicKey>()
/** Keys come again and again: those of a few brands and links. A bound on what a broker can make this hold. */
const MOST_KNOWN = 512

/** A key, or undefined for what is none: not 32 bytes, no point, a point of small order, or not its canonical encoding. */
export async function publicKey(bytes: Uint8Array): Promise<PublicKey | undefined> {
  if (bytes.length !== 32) return undefined
  const x = base64url(bytes)
  const before = known.get(x)
  if (before) return before
  const y = own(bytes)
  y[31]! &= 0x7f
  const value = little(y)
  if (value >= P || isSmall(bytes) || !isPoint(value)) return undefined
  const key = { bytes: own(bytes), id: base64url(await sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`))) }
  if (known.size >= MOST_KNOWN) known.clear()
  known.set(x, key)
  return key
}

/** Strictly, so that evidence has one meaning. */
export async function verifies(key: PublicKey, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (signature.length !== 64 || isSmall(signature.subarray(0, 32))) return false
  const imported = await crypto.subtle.importKey('raw', key.bytes, 'Ed25519', false, ['verify'])
  return crypto.subtle.verify('Ed25519', imported, own(signature), own(message))
}

/** PKCS #8 around 32 bytes of secret (RFC 8410). */
const PKCS8 = fromHex('302e020100300506032b657004220420')

/** A key of 32 secret bytes, which the caller wipes. */
export async function signingKey(secret: Uint8Array): Promise<SigningKey> {
  const pkcs8 = new Uint8Array(48)
  pkcs8.set(PKCS8)
  pkcs8.set(secret, 16)
  // Once extractable, since WebCrypto gives a public key in no other way; what signs is not.
  const open = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign'])
  const { x } = await crypto.subtle.exportKey('jwk', open)
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
  pkcs8.fill(0)
  const found = await publicKey(fromBase64url(x ?? '') ?? new Uint8Array())
  if (!found) throw new Error('a secret has a public key')
  return signer(found, key)
}

/** The same of a key that WebCrypto keeps. */
export function signer(key: PublicKey, secret: CryptoKey): SigningKey & { handle: CryptoKey } {
  const sign = async (message: Uint8Array) => new Uint8Array(await crypto.subtle.sign('Ed25519', secret, own(message)))
  return { ...key, sign, handle: secret }
}

export const sameKey = (a: PublicKey, b: PublicKey): boolean => equal(a.bytes, b.bytes)
