// Opening what was sealed to this device (protocol, section 11): HPKE (RFC 9180) base mode, DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, ChaCha20-Poly1305. X25519, HMAC and SHA-256 are WebCrypto's.
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'

import type { SealedFields } from '../gen/countersign/statement/v1/transfer_pb.ts'
import { concat, fieldList, fromHex, hmac, own, u16, utf8, type Bytes } from './bytes.ts'

const SIZES = [64, 256, 1024, 4096]
export const MOST_VALUE_BYTES = 4094

/** Length, value, zeros; undefined for a value that is too long. */
export function pad(value: Uint8Array): Bytes | undefined {
  const size = SIZES.find((one) => value.length + 2 <= one)
  if (size === undefined) return undefined
  const padded = new Uint8Array(size)
  padded.set(u16(value.length))
  padded.set(value, 2)
  return padded
}

/** Takes only the padding that a sender makes: the smallest size, and zeros. */
export function unpad(padded: Uint8Array): Bytes | undefined {
  if (padded.length < 2) return undefined
  const length = (padded[0]! << 8) | padded[1]!
  if (length > padded.length - 2) return undefined
  const value = own(padded.subarray(2, 2 + length))
  const again = pad(value)
  return again?.length === padded.length && again.every((byte, at) => byte === padded[at]) ? value : undefined
}

export const provisionInfo = (terms: Uint8Array, fetch: Uint8Array, fields: readonly string[]): Bytes =>
  concat(utf8('countersign/v1 provision\0'), terms, fetch, fieldList(fields))
export const previewInfo = (preview: Uint8Array, fields: readonly string[]): Bytes =>
  concat(utf8('countersign/v1 preview\0'), preview, fieldList(fields))

const VERSION = utf8('HPKE-v1')
const KEM = concat(utf8('KEM'), u16(0x0020))
const SUITE = concat(utf8('HPKE'), u16(0x0020), u16(0x0001), u16(0x0003))
const NONE = new Uint8Array()

const extract = (suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Promise<Bytes> =>
  hmac(salt.length === 0 ? new Uint8Array(32) : salt, VERSION, suite, utf8(label), ikm)

/** At most 32 bytes: one block of HKDF. */
async function expand(suite: Uint8Array, prk: Uint8Array, label: string, info: Uint8Array, length: number): Promise<Bytes> {
  const block = await hmac(prk, u16(length), VERSION, suite, utf8(label), info, new Uint8Array([1]))
  return block.slice(0, length)
}

/** A key to which one answer is sealed. */
export interface OpeningKey {
  public: Bytes
  secret: CryptoKey
}

export async function drawOpeningKey(): Promise<OpeningKey> {
  const pair = (await crypto.subtle.generateKey('X25519', false, ['deriveBits'])) as CryptoKeyPair
  return { public: new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)), secret: pair.privateKey }
}

/** PKCS #8 around 32 bytes of X25519 secret (RFC 8410). */
const PKCS8 = fromHex('302e020100300506032b656e04220420')
/** The basepoint, by which a secret's public key is found. */
const BASE = fromHex(`09${'00'.repeat(31)}`)

export async function openingKeyOf(secret: Uint8Array): Promise<OpeningKey> {
  const key = await crypto.subtle.importKey('pkcs8', concat(PKCS8, secret), 'X25519', false, ['deriveBits'])
  return { public: await dh(key, BASE), secret: key }
}

async function dh(secret: CryptoKey, peer: Uint8Array): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', own(peer), 'X25519', false, [])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'X25519', public: key }, secret, 256))
}

/** The values in order, or undefined if anything of it does not open. */
export async function open(key: OpeningKey, sealed: SealedFields, info: Uint8Array): Promise<Bytes[] | undefined> {
  const encapsulated = sealed.encapsulatedKey
  if (encapsulated.length !== 32) return undefined
  let shared: Bytes
  try {
    shared = await dh(key.secret, encapsulated)
  } catch {
    return undefined
  }
  if (shared.every((byte) => byte === 0)) return undefined
  const prk = await extract(KEM, NONE, 'eae_prk', shared)
  const secret = await expand(KEM, prk, 'shared_secret', concat(encapsulated, key.public), 32)
  const context = concat(new Uint8Array(1), await extract(SUITE, NONE, 'psk_id_hash', NONE), await extract(SUITE, NONE, 'info_hash', info))
  const schedule = await extract(SUITE, secret, 'secret', NONE)
  const aead = await expand(SUITE, schedule, 'key', context, 32)
  const base = await expand(SUITE, schedule, 'base_nonce', context, 12)
  const values: Bytes[] = []
  for (const [sequence, { ciphertext }] of sealed.fields.entries()) {
    const nonce = own(base)
    nonce[11]! ^= sequence & 255
    nonce[10]! ^= sequence >> 8
    let padded: Uint8Array
    try {
      padded = chacha20poly1305(aead, nonce).decrypt(ciphertext)
    } catch {
      return undefined
    }
    const value = unpad(padded)
    if (!value) return undefined
    values.push(value)
  }
  return values
}
