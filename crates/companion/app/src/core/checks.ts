// What one statement must be to another (protocol, sections 8 and 9): the name of the first field that is not, or nothing.
import { CustomerChange_Verb, type CustomerChange } from '../gen/countersign/statement/v1/customer_pb.ts'
import { GrantChange_Verb, type GrantChange, type GrantTerms } from '../gen/countersign/statement/v1/grant_pb.ts'
import type { Offer, Rate } from '../gen/countersign/statement/v1/partner_pb.ts'
import type { Fetch, Preview, Provision, SealedFields } from '../gen/countersign/statement/v1/transfer_pb.ts'
import { equal, fieldList, hex, hmac, sha256, utf8, type Bytes } from './bytes.ts'
import type { PublicKey } from './ed25519.ts'

export const offered = (offer: Offer): string[] => [...offer.requiredFields, ...offer.optionalFields]

/** In the offer's order, so that one choice has one encoding. */
export const inOrder = (offer: Offer, fields: readonly string[]): string[] => offered(offer).filter((field) => fields.includes(field))
const list = (fields: readonly string[]) => fields.join()

function noFaster(rate: Rate | undefined, than: Rate | undefined): boolean {
  if (!than) return true
  return rate !== undefined && rate.uses <= than.uses && rate.windowSeconds >= than.windowSeconds
}

/** Milliseconds from one time to a later one; none to an earlier one. */
const since = (later: bigint, earlier: bigint) => (later > earlier ? later - earlier : 0n)

function first(checks: readonly [string, boolean][]): string | undefined {
  return checks.find(([, good]) => !good)?.[0]
}

export function termsWithin(terms: GrantTerms, offer: Offer, offerDigest: Uint8Array): string | undefined {
  return first([
    ['offer', equal(terms.offer, offerDigest)],
    ['source', terms.source === offer.source],
    ['recipient', terms.recipient === offer.recipient && equal(terms.recipientIdentity, offer.recipientIdentity)],
    ['purpose', terms.purpose === offer.purpose],
    ['catalogue_version', equal(terms.catalogueVersion, offer.catalogueVersion)],
    ['fields', offer.requiredFields.every((field) => terms.fields.includes(field))],
    ['fields', list(inOrder(offer, terms.fields)) === list(terms.fields)],
    ['uses', terms.uses <= offer.uses],
    ['rate', noFaster(terms.rate, offer.rate)],
    ['retention_seconds', terms.retentionSeconds <= offer.retentionSeconds],
    ['expire_time_ms', since(terms.expireTimeMs, terms.timeMs) <= offer.durationSeconds * 1000n],
  ])
}

/** `narrowed` or `renewed` as `revision`, or the field that keeps the new terms from either. */
export function revises(next: GrantTerms, old: GrantTerms, oldDigest: Uint8Array): { revision: 'NARROWED' | 'RENEWED' } | string {
  const of = first([
    ['previous', equal(next.previous, oldDigest)],
    ['source', next.source === old.source && equal(next.sourceIdentity, old.sourceIdentity)],
    ['recipient', next.recipient === old.recipient && equal(next.recipientIdentity, old.recipientIdentity)],
    ['purpose', next.purpose === old.purpose],
    ['log_tag', !equal(next.logTag, old.logTag)],
  ])
  if (of) return of
  if (!equal(next.request, old.request)) return { revision: 'RENEWED' }
  const more = first([
    ['offer', equal(next.offer, old.offer)],
    ['catalogue_version', equal(next.catalogueVersion, old.catalogueVersion)],
    ['language', next.language === old.language],
    ['fields', next.fields.every((field) => old.fields.includes(field))],
    ['uses', next.uses <= old.uses],
    ['rate', noFaster(next.rate, old.rate)],
    ['retention_seconds', next.retentionSeconds <= old.retentionSeconds],
    ['expire_time_ms', next.expireTimeMs <= old.expireTimeMs],
  ])
  return more ?? { revision: 'NARROWED' }
}

/** Where a grant stands by what was signed: the number and hash of the newest change, and what it was. */
export interface Chain {
  terms: Uint8Array
  sequence: bigint
  last: Uint8Array
  verb?: GrantChange_Verb
  erase?: boolean
}

/** Whether a change can be the next one, as a book enters it. */
export function follows(chain: Chain, change: GrantChange): string | undefined {
  const stopped = chain.verb === GrantChange_Verb.STOP || chain.verb === GrantChange_Verb.NARROW
  const orders = chain.verb === GrantChange_Verb.STOP && !chain.erase && change.verb === GrantChange_Verb.STOP && change.erase
  return first([
    ['terms', equal(change.terms, chain.terms)],
    ['sequence', change.sequence === chain.sequence + 1n],
    ['previous', equal(change.previous, chain.last)],
    ['stopped', !stopped || orders],
  ])
}

const MOST_AUTHENTICATORS = 16
const MOST_CUSTOMER_CHANGES = 256n

/** A customer's own changes (protocol, section 18): the authenticators that there are. */
export class Identity {
  sequence = 0n
  last: Uint8Array = new Uint8Array()
  stolen = false
  /** By id in hex: the hash of its copy, and when it was added. */
  readonly present = new Map<string, { wrapped: Uint8Array; label: Uint8Array; addedMs: bigint }>()
  private readonly ever = new Set<string>()

  constructor(readonly customer: string) {}

  /** Takes the next change, or says what keeps it from being that. */
  take(change: CustomerChange, digest: Uint8Array): string | undefined {
    const report = change.verb === CustomerChange_Verb.REPORT_STOLEN
    const add = change.verb === CustomerChange_Verb.ADD_AUTHENTICATOR
    const id = hex(change.authenticator)
    const wrong = first([
      ['customer', change.customer === this.customer],
      ['sequence', change.sequence === this.sequence + 1n],
      ['previous', equal(change.previous, this.last)],
      ['verb', !this.stolen],
      ['sequence', report || change.sequence <= MOST_CUSTOMER_CHANGES],
      ['authenticator', report || (add ? !this.ever.has(id) && this.present.size < MOST_AUTHENTICATORS : this.present.has(id) && this.present.size > 1)],
    ])
    if (wrong) return wrong
    this.sequence = change.sequence
    this.last = digest
    if (report) {
      this.stolen = true
      this.present.clear()
    } else if (add) {
      this.ever.add(id)
      this.present.set(id, { wrapped: change.wrapped, label: change.labelCommitment, addedMs: change.timeMs })
    } else this.present.delete(id)
    return undefined
  }
}

/** SHA-256(salt ‖ SHA-256(acceptance)): names a link to those alone who know it. */
export const partyCommitment = (salt: Uint8Array, acceptance: Uint8Array): Promise<Bytes> => sha256(salt, acceptance)
export const opensParty = async (commitment: Uint8Array, salt: Uint8Array, acceptance: Uint8Array): Promise<boolean> =>
  salt.length === 32 && equal(await partyCommitment(salt, acceptance), commitment)
export const labelCommitment = (salt: Uint8Array, label: string): Promise<Bytes> => sha256(salt, utf8(label))

export const codeMac = (secret: Uint8Array, invitation: Uint8Array, linkKey: PublicKey, code: string): Promise<Bytes> =>
  hmac(secret, invitation, linkKey.bytes, utf8(code))

export const COMPARISON_KEY = 'comparison_key'
const COMPARISON = utf8('countersign/v1 comparison')

export const comparisonMark = (key: Uint8Array, field: string, value: Uint8Array): Promise<Bytes> =>
  hmac(key, COMPARISON, new Uint8Array(1), fieldList([field]), value)

export const checkPreviewed = (preview: Preview, sealed: SealedFields): string | undefined =>
  first([['sealed_fields', list([...preview.fields, COMPARISON_KEY]) === list(sealed.fields.map(({ field }) => field))]])
export const checkMarks = (fetch: Fetch, marks: Provision['marks']): string | undefined =>
  first([['marks', list(fetch.fields) === list(marks.map(({ field }) => field))]])
