// What the book's rows say: read from the very bytes that were signed.
import { fromBinary } from '@bufbuild/protobuf'

import { GrantChange_Verb, GrantChangeSchema, GrantTermsSchema, type GrantChange, type GrantTerms } from '../gen/countersign/statement/v1/grant_pb.ts'
import { OfferSchema, type Offer } from '../gen/countersign/statement/v1/partner_pb.ts'
import { equal, hex, sha256, type Bytes } from './bytes.ts'
import type { Book, ChangeRow, GrantRow } from './book.ts'
import type { Chain } from './checks.ts'
import { envelopeFrom } from './envelope.ts'

export const termsOf = (row: GrantRow): GrantTerms => fromBinary(GrantTermsSchema, envelopeFrom(row.sourceTerms).payload)
export const offerOf = (row: GrantRow): Offer | undefined => row.offer && fromBinary(OfferSchema, envelopeFrom(row.offer).payload)
export const changeOf = (envelope: Bytes): GrantChange => fromBinary(GrantChangeSchema, envelopeFrom(envelope).payload)

export type Standing = 'active' | 'paused' | 'stopped' | 'superseded'

export function chainOf(row: GrantRow): Chain {
  const last = row.changes.at(-1)
  if (!last) return { terms: row.digest, sequence: 0n, last: row.digest }
  const said = changeOf(last.source)
  return { terms: row.digest, sequence: said.sequence, last: last.digest, verb: said.verb, erase: said.erase }
}

/** Where it stands by what was signed and seen to stand. */
export function standingOf(row: GrantRow): Standing {
  // An order to delete after a stop changes nothing in this.
  switch (chainOf(row).verb) {
    case GrantChange_Verb.PAUSE:
      return 'paused'
    case GrantChange_Verb.STOP:
      return 'stopped'
    case GrantChange_Verb.NARROW:
      return 'superseded'
    default:
      return 'active'
  }
}

export function successorOf(row: GrantRow): string | undefined {
  const last = row.changes.at(-1)
  const said = last && changeOf(last.source)
  return said?.verb === GrantChange_Verb.NARROW ? `grants/${hex(said.successor)}` : undefined
}

/** The change that ordered to delete, if any. */
export function eraseOrder(row: GrantRow): { digest: Bytes; said: GrantChange } | undefined {
  for (const change of row.changes) {
    const said = changeOf(change.source)
    if (said.erase) return { digest: change.digest, said }
  }
  return undefined
}

/** Itself, unless it was narrowed. */
export async function newest(book: Book, name: string): Promise<GrantRow> {
  let row = await book.mustHave(name)
  const passed = new Set<string>()
  for (let next = successorOf(row); next && !passed.has(next); next = successorOf(row)) {
    passed.add(next)
    const found = await book.grant(next)
    if (!found) break
    row = found
  }
  return row
}

/** The change stands: it is entered once, and is pending no more. */
export async function enterChange(book: Book, name: string, source: Bytes, index?: bigint): Promise<GrantRow> {
  const digest = await sha256(envelopeFrom(source).payload)
  return book.changeGrant(name, ({ pending, ...row }) => {
    const mine = pending && equal(envelopeFrom(pending.source).payload, envelopeFrom(source).payload) ? pending : undefined
    const at = row.changes.findIndex((one) => equal(one.digest, digest))
    const entered: ChangeRow = { ...row.changes[at], source, digest, ...(mine && { recipient: mine.recipient }), ...(index !== undefined && { index }) }
    const changes = at < 0 ? [...row.changes, entered] : row.changes.with(at, entered)
    // A pending change with a number that another one has by now can't stand any more.
    const left = mine || (pending && changeOf(pending.source).sequence <= BigInt(changes.length)) ? undefined : pending
    return { ...row, changes, ...(left && { pending: left }) }
  })
}
