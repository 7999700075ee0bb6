// The statements that stand beside a record and nowhere else, each by whom it says: a partner's under the identity that her terms
// name, or that is pinned for the link; her own under the key of the link.
import type { Message } from '@bufbuild/protobuf'

import { Kind, type Record as Leaf } from '../../gen/countersign/log/v1/record_pb.ts'
import type { KeptStatement } from '../../gen/countersign/v1/event_service_pb.ts'
import { equal, hex } from '../bytes.ts'
import type { GrantRow } from '../book.ts'
import type { Core } from '../core.ts'
import { blame, digestOf, peek, verify, verifyPartner } from '../envelope.ts'
import { misbehaved, type Party } from '../errors.ts'
import { lookUp } from '../grants.ts'
import { keyOf } from '../links.ts'
import { readCheckpoint } from '../log.ts'
import { termsOf } from '../rows.ts'
import { Fetch, LocationTap, Preview, PreviewProvision, Provision, type Kind as Statement } from '../statements.ts'

const KEPT: Partial<Record<Kind, number>> = {
  [Kind.TRANSFER]: 2, [Kind.PROVIDED_NOT_RELEASED]: 2, [Kind.PREVIEWED]: 2, [Kind.TRANSFER_REFUSED]: 1, [Kind.LOCATION_TAPPED]: 1,
}

export interface Said {
  record: Leaf
  fields: readonly string[]
  evidence: readonly Uint8Array[]
  kept: readonly KeptStatement[]
}

const wrong = (what: string, check: string) => misbehaved('broker', what, check)

export async function verifyKept(core: Core, { record, fields, evidence, kept }: Said): Promise<void> {
  const last = evidence.slice(evidence.length - (KEPT[record.kind] ?? 0))
  const same = await Promise.all(kept.map(async ({ statement }, at) => statement !== undefined && last[at] !== undefined && equal(await digestOf(statement), last[at])))
  if (kept.length !== (KEPT[record.kind] ?? 0) || evidence.length < kept.length || !same.every(Boolean)) throw wrong('event', 'statements')
  const ofFields = (said: readonly string[]) => said.length === fields.length && said.every((path, at) => path === fields[at])
  switch (record.kind) {
    case Kind.TRANSFER:
    case Kind.PROVIDED_NOT_RELEASED:
    case Kind.TRANSFER_REFUSED: {
      if (evidence.length !== kept.length + 1) throw wrong('event', 'evidence')
      const grant = await grantUnder(core, evidence[0]!)
      const terms = termsOf(grant)
      const fetch = await byPartner(core, Fetch, 'fetch', kept[0]!, terms.recipient, terms.recipientIdentity)
      if (fetch.recipient !== terms.recipient || !equal(fetch.terms, grant.digest) || !ofFields(fetch.fields)) throw wrong('fetch', 'terms')
      if (!kept[1]) return
      const provision = await byPartner(core, Provision, 'provision', kept[1], terms.source, terms.sourceIdentity)
      if (provision.source !== terms.source || !equal(provision.fetch, evidence[1]!)) throw wrong('provision', 'fetch')
      return
    }
    case Kind.PREVIEWED: {
      if (evidence.length !== 4) throw wrong('event', 'evidence')
      const claimed = await peek(Preview, kept[0]!.statement).catch((thrown) => Promise.reject(blame('broker', 'preview', thrown)))
      const link = (await core.book.links()).find((one) => equal(one.acceptanceDigest, claimed.acceptance))
      if (!link) throw wrong('preview', 'acceptance')
      const { said } = await verify(Preview, kept[0]!.statement, [await keyOf(link)], core.origin).catch((thrown) => Promise.reject(blame('broker', 'preview', thrown)))
      if (!equal(said.request, evidence[0]!) || !equal(said.offer, evidence[1]!) || !ofFields(said.fields)) throw wrong('preview', 'request')
      const shown = await byPartner(core, PreviewProvision, 'preview_provision', kept[1]!, link.partner, link.identity)
      if (shown.source !== link.partner || !equal(shown.preview, evidence[2]!)) throw wrong('preview_provision', 'preview')
      return
    }
    case Kind.LOCATION_TAPPED: {
      const claimed = await peek(LocationTap, kept[0]!.statement).catch((thrown) => Promise.reject(blame('broker', 'tap', thrown)))
      const grant = await grantUnder(core, claimed.terms)
      const link = await core.book.link(grant.recipientLink)
      if (!link) throw wrong('tap', 'terms')
      // As she signed it for the recipient.
      const { said } = await verify(LocationTap, kept[0]!.statement, [await keyOf(link)], core.origin).catch((thrown) => Promise.reject(blame('broker', 'tap', thrown)))
      if (!equal(record.grantTag, termsOf(grant).logTag) || !ofFields(said.fields)) throw wrong('tap', 'terms')
      return
    }
    default:
  }
}

/** Her own grant under these terms. One that was approved on another device is taken over. */
async function grantUnder(core: Core, terms: Uint8Array): Promise<GrantRow> {
  const name = `grants/${hex(terms)}`
  const row = (await core.book.grant(name)) ?? (await lookUp(core, name))
  if (!row) throw wrong('event', 'grant')
  return row
}

async function byPartner<M extends Message & { broker: string; timeMs: bigint; checkpoint: Uint8Array }>(
  core: Core, kind: Statement<M>, what: string, { statement, partnerKey }: KeptStatement, partner: string, identity: Uint8Array,
): Promise<M> {
  const who = partner as Party
  const { said } = await verifyPartner(kind, statement, partnerKey, identity, partner, core.origin).catch((thrown) => Promise.reject(blame(who, what, thrown)))
  // The log signed each head. That they are of one log is proven of the receipts beside them, which run ahead of all of these.
  if (typeof (await readCheckpoint(said.checkpoint, core.trust.logKey)) === 'string') throw misbehaved(who, what, 'checkpoint')
  return said
}
