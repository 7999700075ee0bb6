// The vectors of `tests/vectors`, which the Rust crates are held to as well: the same bytes, and the very reason of each refusal.
//
// Left out are those of other parties' sides: `answers`, `permits` (broker and recipient), `bundles`, `log_paths` (auditors), and of
// `records` the reasons, which are an auditor's: this app looks at a record's version alone, and at its bytes by their hash.
import { create, fromBinary, type DescMessage, type Message, type MessageShape } from '@bufbuild/protobuf'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

import { Kind, RecordSchema } from '../../src/gen/countersign/log/v1/record_pb.ts'
import { EnvelopeSchema } from '../../src/gen/countersign/statement/v1/envelope_pb.ts'
import { GrantChangeSchema, GrantTermsSchema } from '../../src/gen/countersign/statement/v1/grant_pb.ts'
import { OfferSchema } from '../../src/gen/countersign/statement/v1/partner_pb.ts'
import { FetchSchema, PreviewSchema, SealedFieldsSchema } from '../../src/gen/countersign/statement/v1/transfer_pb.ts'
import { ReceiptSchema } from '../../src/gen/countersign/v1/receipt_pb.ts'
import { equal, fieldList, fromHex, hex, sha256, utf8 } from '../../src/core/bytes.ts'
import { offerWithin, readCatalogue } from '../../src/core/catalogue.ts'
import {
  checkMarks, checkPreviewed, codeMac, comparisonMark, follows, Identity, labelCommitment, partyCommitment, revises, termsWithin, type Chain,
} from '../../src/core/checks.ts'
import { publicKey, signingKey, verifies, type PublicKey } from '../../src/core/ed25519.ts'
import { encode, preAuthentication, Refusal, sign, verify, verifyPartner, type Envelope } from '../../src/core/envelope.ts'
import { Failed } from '../../src/core/errors.ts'
import { callKey, deriving, lookup, unwrap, wrap } from '../../src/core/hkdf.ts'
import { parsePackage, verifyPackage } from '../../src/core/invitation.ts'
import { checkConsistency, checkInclusion, checkProofFile, commitment, leafHash, logKey, readCheckpoint } from '../../src/core/log.ts'
import * as names from '../../src/core/names.ts'
import { prove, readRecord, says } from '../../src/core/receipt.ts'
import { open, openingKeyOf, pad, previewInfo, provisionInfo, unpad } from '../../src/core/sealing.ts'
import * as statements from '../../src/core/statements.ts'
import { checkToken, issueToken } from '../../src/core/token.ts'

interface Wire {
  payload_type: string
  payload: string
  signatures: { key_id: string; signature: string }[]
}
type Names = 'public_key' | 'name' | 'token' | 'audience' | 'payload' | 'payload_type' | 'signature' | 'broker' | 'identity' | 'partner' | 'salt' | 'commitment' | 'acceptance'
  | 'invitation' | 'link_key' | 'code' | 'code_mac' | 'text' | 'catalogue' | 'new' | 'old' | 'root' | 'wrapped' | 'padded' | 'fetch' | 'secret_key' | 'encapsulated_key'
  | 'field' | 'leaf' | 'from_root' | 'to_root' | 'checkpoint' | 'log_key' | 'file' | 'record' | 'source' | 'recipient' | 'purpose' | 'catalogue_version' | 'grant_tag'
type Given = 'label' | 'nonce' | 'value' | 'values' | 'key' | 'preview' | 'fields_salt' | 'evidence_salt' | 'subject_salt' | 'customer'
type Lists = 'fields' | 'ciphertexts' | 'sealed' | 'marks' | 'path' | 'proof' | 'evidence' | 'kinds'
type Numbers = 'now_ms' | 'at' | 'index' | 'size' | 'from' | 'to' | 'not_before_ms' | 'not_after_ms' | 'use_limit'
/** All that the files' inputs have; each file's are said in its `about`. */
type Json = Record<Names, string> & Partial<Record<Given, string>> & Record<Lists, string[]> & Record<Numbers, number> & {
  kind: string
  keys: string[]
  secret: string & number
  envelope: Wire | null
  certificate: Wire | null
  offer: string & Wire
  terms: string & Wire
  changes: Wire[]
  says: Json
}
interface Case {
  name: string
  input: Json
  expected: string
  output?: Readonly<Record<string, unknown>>
}

const unhex = (text: string) => fromHex(text)
const message = <D extends DescMessage>(schema: D, text: string): MessageShape<D> => fromBinary(schema, unhex(text))

function envelope(json: Wire | null): Envelope | undefined {
  if (!json) return undefined
  const signatures = json.signatures.map((one) => ({ keyId: one.key_id, signature: unhex(one.signature) }))
  return create(EnvelopeSchema, { payloadType: json.payload_type, payload: unhex(json.payload), signatures })
}

type AnyKind = statements.Kind<Message & { broker: string }>
const kinds = Object.values(statements).filter((one) => typeof one === 'object') as unknown as AnyKind[]
const kindOf = (type: string): AnyKind => kinds.find((one) => one.type === type) ?? expect.fail(type)

async function key(text: string): Promise<PublicKey> {
  return (await publicKey(unhex(text))) ?? expect.fail('no key')
}
const log = async (text: string) => (await logKey(text)) ?? expect.fail('no log key')

/** What a check said: `ok` with what came of it, or its reason. */
type Verdict = { result: string; output?: unknown }
const ok = (output?: unknown): Verdict => ({ result: 'ok', output })
const or = (reason: string | undefined, output?: unknown): Verdict => (reason === undefined ? ok(output) : { result: reason })
const holds = (good: boolean, reason: string, output?: unknown): Verdict => or(good ? undefined : reason, output)

async function refusing(work: () => Promise<unknown>): Promise<Verdict> {
  try {
    return ok(await work())
  } catch (thrown) {
    if (thrown instanceof Refusal) return { result: thrown.check }
    if (thrown instanceof Failed) {
      const { error } = thrown
      if (error.kind === 'invitationExpired') return { result: 'expire_time' }
      if (error.kind === 'malformed') return { result: 'malformed' }
      if (error.kind === 'misbehaved') return { result: error.check }
    }
    throw thrown
  }
}

function run(file: string, check: (input: Json, one: Case) => Promise<Verdict> | Verdict) {
  const { cases } = JSON.parse(readFileSync(new URL(`../../../../../tests/vectors/${file}.json`, import.meta.url), 'utf8')) as { cases: Case[] }
  describe(file, () => {
    it('has cases', () => expect(cases.length).toBeGreaterThan(0))
    it.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
      const { result, output } = await check(one.input, one)
      expect(result).toBe(one.expected)
      if (one.output && output !== undefined) expect(output).toEqual(one.output)
    })
  })
}

run('keys', async (input) => {
  const found = await publicKey(unhex(input.public_key))
  return holds(found !== undefined, 'key', found && { key_id: found.id })
})

const FORMS: Record<string, (text: string) => boolean> = {
  partner: names.isPartner, auditor: names.isAuditor, operator: names.isOperator, customer: names.isCustomer, subject: names.isSubject,
  offer: names.isOffer, link: names.isLink, grant_request: names.isRequest, request: names.isRequest, grant: names.isGrant,
  catalogue: names.isCatalogue, origin: names.isOrigin, purpose: names.isPurpose, field: names.isField, key_id: names.isKeyId,
  principal: names.isPrincipal, log_entry: names.isEntry, entry: names.isEntry, uuid: names.isUuid, broker: names.isBroker,
}
run('names', (input) => holds((FORMS[input.kind] ?? expect.fail(input.kind))(input.name), 'name'))

run('tokens', async (input, one) => {
  const found = await checkToken(input.token, await key(input.public_key), input.audience, input.now_ms)
  if (typeof found === 'string') return { result: found }
  return ok({ expire_time_ms: found.expires, issuer: found.issuer, key_id: one.output?.['key_id'] })
})

run('statements', async (input, one) => {
  const kind = kindOf(input.payload_type)
  const payload = unhex(input.payload)
  const secret = await signingKey(new Uint8Array(32).fill(input.secret))
  const said = fromBinary(kind.schema, payload)
  // Made anew from what it says, it is the same bytes and the same signature.
  const made = await sign(kind, said, [secret])
  expect(hex(made.payload)).toBe(input.payload)
  expect(hex(made.signatures[0]!.signature)).toBe(input.signature)
  expect(hex(secret.bytes)).toBe(input.public_key)
  const pae = preAuthentication(kind.type, payload)
  expect(await verifies(secret, pae, unhex(input.signature))).toBe(true)
  const signed = await verify(kind, made, [secret], input.broker)
  expect(hex(signed.digest)).toBe(one.output?.['digest'])
  expect(hex(pae)).toBe(one.output?.['pae'])
  expect(secret.id).toBe(one.output?.['key_id'])
  return ok()
})

run('envelopes', async (input, one) =>
  refusing(async () => {
    const keys = await Promise.all(input.keys.map((text) => key(text)))
    const signed = await verify(kindOf(input.payload_type), envelope(input.envelope), keys, input.broker)
    return { digest: hex(signed.digest), key_id: one.output?.['key_id'] }
  }),
)

run('partner_keys', async (input, one) =>
  refusing(async () => {
    const signed = await verifyPartner(
      statements.Offer, envelope(input.offer), envelope(input.certificate), unhex(input.identity), input.partner, 'broker.test/log',
    )
    return { digest: hex(signed.digest), key_id: one.output?.['key_id'] }
  }),
)

run('link_commitments', async (input) => {
  const salt = unhex(input.salt)
  const found = input.label === undefined ? await partyCommitment(salt, unhex(input.acceptance)) : await labelCommitment(salt, input.label)
  return holds(hex(found) === input.commitment, 'commitment')
})

run('link_codes', async (input) => {
  const mac = await codeMac(unhex(input.secret), unhex(input.invitation), await key(input.link_key), input.code)
  return holds(hex(mac) === input.code_mac, 'code')
})

run('invitations', async (input) =>
  refusing(async () => {
    const { signed, secret, label } = await verifyPackage(parsePackage(input.text), input.broker, input.now_ms)
    const { said, digest } = signed
    return {
      identity: hex(said.identityKey), label, link: `links/${hex(digest)}`, partner: said.partner, secret: hex(secret), subject: said.subject,
    }
  }),
)

run('offers', async (input) => {
  const catalogue = (await readCatalogue(utf8(input.catalogue))) ?? expect.fail('no catalogue')
  return or(offerWithin(message(OfferSchema, input.offer), catalogue))
})

run('terms', async (input) => {
  const offer = unhex(input.offer)
  return or(termsWithin(message(GrantTermsSchema, input.terms), fromBinary(OfferSchema, offer), await sha256(offer)))
})

run('revisions', async (input) => {
  const old = unhex(input.old)
  const found = revises(message(GrantTermsSchema, input.new), fromBinary(GrantTermsSchema, old), await sha256(old))
  return typeof found === 'string' ? { result: found } : ok(found.revision)
})

run('changes', async (input, one) => {
  const terms = await sha256(unhex(input.terms['payload']!))
  let chain: Chain = { terms, sequence: 0n, last: terms }
  for (const [at, raw] of input.changes.entries()) {
    const payload = unhex(raw.payload)
    const change = fromBinary(GrantChangeSchema, payload)
    const wrong = follows(chain, change)
    if (wrong) {
      expect(at).toBe(input.at)
      return { result: wrong }
    }
    chain = { terms, sequence: change.sequence, last: await sha256(payload), verb: change.verb, erase: change.erase }
  }
  expect(one.input.at).toBeNull()
  return ok()
})

run('customer_changes', async (input) => {
  const call = await key(input.public_key)
  const identity = new Identity(`customers/${call.id}`)
  return refusing(async () => {
    for (const raw of input.changes) {
      const signed = await verify(statements.CustomerChangeKind, envelope(raw), [call], input.broker)
      const wrong = identity.take(signed.said, signed.digest)
      if (wrong) throw new Refusal(wrong)
    }
    return { authenticators: [...identity.present.keys()].sort(), stolen: identity.stolen }
  })
})

run('wrapping', async (input) => {
  const secret = await deriving(unhex(input.secret))
  const wrapped = unhex(input.wrapped)
  if (input.nonce !== undefined) {
    const made = await wrap(secret, input.broker, unhex(input.nonce), unhex(input.root))
    expect(hex(made)).toBe(input.wrapped)
  }
  const root = await unwrap(secret, input.broker, wrapped)
  if (typeof root === 'string') return { result: root }
  const found = await lookup(secret)
  const call = await callKey(await deriving(root))
  return ok({ authenticator: hex(found.id), lookup: hex(found.lookup), root: hex(root), customer: `customers/${call.id}` })
})

run('padding', (input) => {
  if (input.value !== undefined) {
    const padded = pad(unhex(input.value))
    return holds(padded !== undefined, 'too_long', padded && { padded: hex(padded) })
  }
  const value = unpad(unhex(input.padded))
  return holds(value !== undefined, 'padding', value && { value: hex(value) })
})

run('sealing', async (input, one) => {
  const fields = input.fields
  const info = provisionInfo(unhex(input.terms), unhex(input.fetch), fields)
  // This app opens, and seals nothing: of the cases that seal, what it would open and what binds it.
  if (input.values !== undefined) {
    if (one.output) {
      expect(hex(info)).toBe(one.output['info'])
      expect(hex(await sha256(unhex(one.output['sealed_fields'] as string)))).toBe(one.output['sealed_digest'])
    }
    return { result: one.expected }
  }
  const own = await openingKeyOf(unhex(input.secret_key))
  const sealed = create(SealedFieldsSchema, {
    encapsulatedKey: unhex(input.encapsulated_key),
    fields: input.ciphertexts.map((ciphertext, at) => ({ field: fields[at] ?? '', ciphertext: unhex(ciphertext) })),
  })
  const values = await open(own, sealed, info)
  return holds(values !== undefined, 'open', values && { values: values.map(hex) })
})

run('comparisons', async (input) => {
  if (input.key !== undefined) return ok({ mark: hex(await comparisonMark(unhex(input.key), input.field, unhex(input.value ?? ''))) })
  if (input.preview !== undefined) {
    const payload = unhex(input.preview)
    const preview = fromBinary(PreviewSchema, payload)
    const sealed = create(SealedFieldsSchema, { fields: input.sealed.map((field) => ({ field })) })
    return or(checkPreviewed(preview, sealed), { info: hex(previewInfo(await sha256(payload), preview.fields)) })
  }
  const marks = create(statements.Provision.schema, { marks: input.marks.map((field) => ({ field })) }).marks
  return or(checkMarks(message(FetchSchema, input.fetch), marks))
})

run('commitments', async (input) => {
  const what = input.kind as 'subject' | 'fields' | 'evidence'
  const bytes = {
    subject: () => [utf8(input.customer ?? '')],
    fields: () => [fieldList(input.fields)],
    evidence: () => input.evidence.map(unhex),
  }[what]()
  return holds(equal(await commitment(what, unhex(input.salt), ...bytes), unhex(input.commitment)), 'commitment')
})

run('inclusion', async (input) =>
  or(await checkInclusion(BigInt(input.index), BigInt(input.size), unhex(input.leaf), input.path.map(unhex), unhex(input.root))),
)

run('consistency', async (input) =>
  or(
    await checkConsistency(
      BigInt(input.from), unhex(input.from_root), BigInt(input.to), unhex(input.to_root), input.proof.map(unhex),
    ),
  ),
)

run('checkpoints', async (input, one) => {
  const found = await readCheckpoint(utf8(input.checkpoint), await log(input.log_key))
  if (typeof found === 'string') return { result: found }
  expect(found.size).toBe(BigInt(one.output?.['size'] as number | string))
  return ok({ origin: one.output?.['origin'], size: one.output?.['size'], root: hex(found.root) })
})

run('proof_files', async (input) => {
  const record = unhex(input.record)
  const found = await checkProofFile(utf8(input.file), record, await log(input.log_key))
  return typeof found === 'string' ? { result: found } : ok({ index: Number(found.index), leaf_hash: hex(await leafHash(record)) })
})

run('records', async (input, one) => {
  if (one.expected !== 'ok') return { result: one.expected }
  const bytes = unhex(input.record)
  const record = readRecord(bytes)
  expect(hex(encode({ schema: RecordSchema }, record))).toBe(input.record)
  expect(Kind[record.kind]).toBe((one.output?.['message'] as { kind: string }).kind.replace('KIND_', ''))
  expect(hex(await leafHash(bytes))).toBe(one.output?.['leaf_hash'])
  return ok()
})

run('receipts', async (input) =>
  refusing(async () => {
    const logs = await log(input.log_key)
    const receipt = create(ReceiptSchema, {
      record: unhex(input.record), index: BigInt(input.index), path: input.path.map(unhex), checkpoint: utf8(input.checkpoint),
      fieldsSalt: unhex(input.fields_salt ?? ''), evidenceSalt: unhex(input.evidence_salt ?? ''), subjectSalt: unhex(input.subject_salt ?? ''),
    })
    const leaf = await prove(receipt, async (note) => {
      const head = await readCheckpoint(note, logs)
      if (typeof head === 'string') throw new Refusal('signature')
      return head
    })
    const said = input.says
    await says(leaf, {
      kinds: said.kinds.map((name) => Kind[name.replace('KIND_', '') as keyof typeof Kind]),
      source: said.source, recipient: said.recipient, purpose: said.purpose, catalogueVersion: unhex(said.catalogue_version),
      grantTag: unhex(said.grant_tag), notBefore: said.not_before_ms, notAfter: said.not_after_ms,
      ...(said.use_limit && { useLimit: said.use_limit }),
      ...(said.customer && { subject: said.customer }),
      ...(said.fields && { fields: said.fields }),
      ...(said.evidence && { evidence: said.evidence.map(unhex) }),
    })
    return { index: Number(leaf.index), leaf_hash: hex(leaf.leaf) }
  }),
)

describe('tokens', () => {
  it('issues what a checker takes', async () => {
    const own = await signingKey(new Uint8Array(32).fill(30))
    const issuer = `customers/${own.id}`
    const token = await issueToken(own, issuer, 'broker.test/log', 1_790_000_000_000)
    expect(await checkToken(token, own, 'brokers/broker.test/log', 1_790_000_000_000)).toEqual({ issuer, expires: 1_790_000_300_000 })
  })
})
