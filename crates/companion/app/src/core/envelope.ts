// DSSE envelopes (protocol, section 5): the bytes that were signed, kept as they were signed.
import { create, fromBinary, toBinary, type MessageInitShape, type Message } from '@bufbuild/protobuf'

import { EnvelopeSchema, type Envelope } from '../gen/countersign/statement/v1/envelope_pb.ts'
import { concat, equal, hex, own, sha256, utf8, type Bytes } from './bytes.ts'
import { publicKey, verifies, type PublicKey, type SigningKey } from './ed25519.ts'
import { blame, Refusal } from './refusal.ts'
import { isKeyId } from './names.ts'
import { PartnerKey, type Kind } from './statements.ts'

export type { Envelope }

const MOST_PAYLOAD_BYTES = 16_384
const MOST_SIGNATURES = 4

/** A statement that verified: only `verify` makes one. */
export interface Signed<M> {
  readonly said: M
  readonly envelope: Envelope
  /** H(payload): the name of the statement wherever another builds on it. */
  readonly digest: Bytes
}

export { blame, Refusal }

export const preAuthentication = (type: string, payload: Uint8Array): Bytes =>
  concat(utf8(`DSSEv1 ${utf8(type).length} ${type} ${payload.length} `), payload)

export const digestOf = (envelope: Envelope): Promise<Bytes> => sha256(envelope.payload)

/** Fields in order, each once, none with its default, none unknown: there is one encoding of what a message says. */
export const encode = <M extends Message>(kind: Pick<Kind<M>, 'schema'>, message: M): Bytes =>
  own(toBinary(kind.schema, message, { writeUnknownFields: false }))

export async function sign<M extends Message>(kind: Kind<M>, message: MessageInitShape<Kind<M>['schema']>, keys: readonly SigningKey[]): Promise<Envelope> {
  const payload = encode(kind, create(kind.schema, message))
  const signed = preAuthentication(kind.type, payload)
  const signatures = await Promise.all(keys.map(async (key) => ({ keyId: key.id, signature: await key.sign(signed) })))
  return create(EnvelopeSchema, { payloadType: kind.type, payload, signatures })
}

function bounded<M extends Message>(kind: Kind<M>, envelope: Envelope | undefined): Envelope {
  const refuse = (check: string) => {
    throw new Refusal(check)
  }
  if (!envelope) return refuse('present')
  if (envelope.payloadType !== kind.type) refuse('payload_type')
  if (envelope.payload.length > MOST_PAYLOAD_BYTES) refuse('size')
  const { signatures } = envelope
  if (signatures.length < 1 || signatures.length > MOST_SIGNATURES) refuse('signature_count')
  if (!signatures.every((one) => one.signature.length === 64 && isKeyId(one.keyId))) refuse('signature_form')
  return envelope
}

async function read<M extends Message>(kind: Kind<M>, payload: Uint8Array): Promise<M> {
  let said: M
  try {
    said = fromBinary(kind.schema, payload)
  } catch {
    throw new Refusal('parse')
  }
  if (!equal(encode(kind, said), payload)) throw new Refusal('canonical')
  const field = await kind.check(said)
  if (field !== undefined) throw new Refusal(field)
  return said
}

/** Reads a statement without verifying it, to learn which key must have signed it. Act on nothing that it says. */
export async function peek<M extends Message>(kind: Kind<M>, envelope: Envelope | undefined): Promise<M> {
  return read(kind, bounded(kind, envelope).payload)
}

/** One signature by one of the keys is needed. One by any other key is ignored; a wrong one under one of the keys is not. */
export async function verify<M extends Message & { broker: string }>(
  kind: Kind<M>, envelope: Envelope | undefined, keys: readonly PublicKey[], broker: string,
): Promise<Signed<M>> {
  const good = bounded(kind, envelope)
  const signed = preAuthentication(good.payloadType, good.payload)
  let signer = false
  for (const { keyId, signature } of good.signatures) {
    const key = keys.find((one) => one.id === keyId)
    if (!key) continue
    if (!(await verifies(key, signed, signature))) throw new Refusal('signature')
    signer = true
  }
  if (!signer) throw new Refusal('key')
  const said = await read(kind, good.payload)
  if (said.broker !== broker) throw new Refusal('broker')
  return { said, envelope: good, digest: await digestOf(good) }
}

/** A statement of a partner, under the identity that is known from elsewhere (protocol, section 6). */
export async function verifyPartner<M extends Message & { broker: string; timeMs: bigint }>(
  kind: Kind<M>, envelope: Envelope | undefined, certificate: Envelope | undefined, identity: Uint8Array, partner: string, broker: string,
): Promise<Signed<M>> {
  const key = await publicKey(identity)
  const signed = key && await verify(PartnerKey, certificate, [key], broker).catch((thrown) => {
    if (thrown instanceof Refusal) return undefined
    throw thrown
  })
  if (!signed) throw new Refusal('partner_key')
  const working = signed.said
  if (working.partner !== partner) throw new Refusal('partner_key_partner')
  const workingKey = await publicKey(working.publicKey)
  const found = await verify(kind, envelope, workingKey ? [workingKey] : [], broker)
  if (found.said.timeMs < working.notBeforeMs || found.said.timeMs > working.notAfterMs) throw new Refusal('partner_key_time')
  return found
}

export const envelopeBytes = (envelope: Envelope): Bytes => own(toBinary(EnvelopeSchema, envelope))
export const envelopeFrom = (bytes: Uint8Array): Envelope => fromBinary(EnvelopeSchema, bytes)
export const same = (a: Uint8Array, b: Uint8Array): boolean => equal(a, b)
export const named = (collection: string, digest: Uint8Array): string => `${collection}/${hex(digest)}`
