// What each statement's fields must be (protocol, section 5): the name of the first field that is not of its form, or nothing.
import type { Message } from '@bufbuild/protobuf'
import type { GenMessage } from '@bufbuild/protobuf/codegenv2'

import {
  CustomerChange_Verb, CustomerChangeSchema, type CustomerChange,
} from '../gen/countersign/statement/v1/customer_pb.ts'
import { AccountClosureSchema, ErasureAttestationSchema } from '../gen/countersign/statement/v1/erasure_pb.ts'
import {
  GrantChange_Verb, GrantChangeSchema, GrantRequestSchema, GrantTermsSchema,
} from '../gen/countersign/statement/v1/grant_pb.ts'
import {
  LinkAcceptanceSchema, LinkConfirmationSchema, LinkInvitationSchema,
} from '../gen/countersign/statement/v1/link_pb.ts'
import {
  AcknowledgementSchema, BenefitKind, ChangeReason, OfferSchema, PartnerChange_Verb, PartnerChangeSchema, PartnerKeySchema,
  type OfferText, type Rate,
} from '../gen/countersign/statement/v1/partner_pb.ts'
import {
  FetchSchema, LocationTapSchema, PreviewProvisionSchema, PreviewSchema, ProvisionSchema, type ComparisonMark,
} from '../gen/countersign/statement/v1/transfer_pb.ts'
import { hex } from './bytes.ts'
import { publicKey } from './ed25519.ts'
import { isCustomer, isField, isOrigin, isPartner, isPurpose, isReturnAddress, isSubject, isUuid, needsTap, partnerOf } from './names.ts'

/** A kind of statement: its type, its message, and how its fields are looked at. */
export interface Kind<M extends Message> {
  type: string
  schema: GenMessage<M>
  check: (message: M) => Promise<string | undefined>
}

/** The field, and whether it is good. A test that is a promise is waited for in its turn. */
type Check = [field: string, good: boolean | (() => boolean | Promise<boolean>)]

function kind<M extends Message>(name: string, schema: GenMessage<M>, checks: (message: M) => Check[]): Kind<M> {
  const check = async (message: M) => {
    for (const [field, good] of checks(message)) if (!(typeof good === 'function' ? await good() : good)) return field
    return undefined
  }
  return { type: `application/vnd.countersign.${name}.v1+protobuf`, schema, check }
}

const MOST_FIELDS = 32
const MOST_SECONDS = 100n * 366n * 86_400n
export const MOST_WORDS = 150
export const INVITATION_LIFE_MS = 600_000n
const REQUEST_LIFE_MS = 604_800_000n
export const TAP_LIFE_MS = 300_000n

const is32 = (bytes: Uint8Array) => bytes.length === 32
const is32OrNone = (bytes: Uint8Array) => bytes.length === 0 || is32(bytes)
const isTime = (time: bigint) => time !== 0n
const isHead = (bytes: Uint8Array) => bytes.length >= 1 && bytes.length <= 2048
const isKey = (bytes: Uint8Array) => async () => (await publicKey(bytes)) !== undefined
const once = (items: readonly string[]) => new Set(items).size === items.length
const areFields = (fields: readonly string[]) => fields.length <= MOST_FIELDS && fields.every(isField)
const isSeconds = (seconds: bigint) => seconds >= 1n && seconds <= MOST_SECONDS
const isRate = (rate: Rate | undefined) => !rate || (rate.uses >= 1 && isSeconds(rate.windowSeconds))
const within = (time: bigint, expire: bigint, most: bigint) => expire > time && expire - time <= most

function isText(text: string, most: number): boolean {
  // White space as Unicode has it, which is also what blank means to the others; `trim` takes away U+FEFF too, which they keep.
  return /[^\p{White_Space}]/u.test(text) && [...text].length <= most && !/\p{Cc}/u.test(text)
}

/** Words as people count them: where a script has no spaces, two characters are one word. */
export function words(text: string): number {
  const joined = /[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]/
  const apart = text.split(/[\p{White_Space}\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]/u).filter((word) => word !== '').length
  return apart + Math.ceil([...text].filter((char) => joined.test(char)).length / 2)
}
export const textWords = (text: OfferText): number => words(text.reason) + words(text.benefit) + words(text.ends)

function textChecks(texts: readonly OfferText[]): Check[] {
  const each = texts.flatMap((text, at): Check[] => [
    ['language', isText(text.language, 120)],
    ['reason', isText(text.reason, 280)],
    ['benefit', isText(text.benefit, 280)],
    ['ends', isText(text.ends, 120)],
    ['texts', textWords(text) <= MOST_WORDS],
    ['texts', !texts.slice(0, at).some((other) => other.language === text.language)],
  ])
  return [['texts', texts.length >= 1 && texts.length <= 8], ...each]
}

function areMarks(preview: Uint8Array, marks: readonly ComparisonMark[]): Check[] {
  if (preview.length === 0 && marks.length === 0) return []
  const fields = marks.map((mark) => mark.field)
  return [
    ['preview', is32(preview)],
    ['marks', areFields(fields) && fields.length > 0 && once(fields) && marks.every((mark) => is32(mark.mac))],
  ]
}

export const PartnerKey = kind('partner-key', PartnerKeySchema, (m) => [
  ['sequence', m.sequence !== 0n],
  ['previous', m.sequence === 1n ? m.previous.length === 0 : is32(m.previous)],
  ['not_before_ms', isTime(m.notBeforeMs)],
  ['not_after_ms', isTime(m.notAfterMs) && m.notAfterMs > m.notBeforeMs],
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['public_key', isKey(m.publicKey)],
])

export const Offer = kind('offer', OfferSchema, (m) => [
  ['benefit_kind', m.benefitKind !== BenefitKind.UNSPECIFIED && m.benefitKind in BenefitKind],
  ['required_fields', areFields(m.requiredFields)],
  ['optional_fields', areFields(m.optionalFields)],
  ['required_fields', m.requiredFields.length > 0],
  ['fields', once([...m.requiredFields, ...m.optionalFields])],
  ['uses', m.uses >= 1],
  ['broker', isOrigin(m.broker)],
  ['recipient', isPartner(m.recipient)],
  ['recipient_identity', isKey(m.recipientIdentity)],
  ['source', isPartner(m.source)],
  ['purpose', isPurpose(m.purpose)],
  ['duration_seconds', isSeconds(m.durationSeconds)],
  ['rate', isRate(m.rate)],
  ...textChecks(m.texts),
  ['contact_phone', isText(m.contactPhone, 120)],
  ['law', isText(m.law, 120)],
  ['controller', isText(m.controller, 120)],
  ['complaint_body', isText(m.complaintBody, 120)],
  ['catalogue_version', is32(m.catalogueVersion)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
  ['source', m.recipient !== m.source],
])

export const LinkInvitation = kind('link-invitation', LinkInvitationSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['identity_key', isKey(m.identityKey)],
  ['subject', isSubject(m.subject)],
  ['label_commitment', is32(m.labelCommitment)],
  ['expire_time_ms', isTime(m.expireTimeMs)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
  ['replaces', is32OrNone(m.replaces)],
  ['return_address', m.returnAddress === '' || isReturnAddress(m.returnAddress)],
  ['subject', partnerOf(m.subject) === m.partner],
  ['expire_time_ms', within(m.timeMs, m.expireTimeMs, INVITATION_LIFE_MS)],
])

export const LinkAcceptance = kind('link-acceptance', LinkAcceptanceSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['invitation', is32(m.invitation)],
  ['link_key', isKey(m.linkKey)],
  ['code_mac', is32(m.codeMac)],
  ['time_ms', isTime(m.timeMs)],
])

export const LinkConfirmation = kind('link-confirmation', LinkConfirmationSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['acceptance', is32(m.acceptance)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
])

export const GrantRequest = kind('grant-request', GrantRequestSchema, (m) => [
  ['rows', m.rows.length >= 1 && m.rows.length <= 7],
  ...m.rows.flatMap((row, at): Check[] => {
    const before = m.rows.slice(0, at)
    return [
      ['rows', is32(row.offer)],
      ['renews', is32OrNone(row.renews)],
      ['rows', !before.some((other) => hex(other.offer) === hex(row.offer))],
      ['renews', row.renews.length === 0 || !before.some((other) => hex(other.renews) === hex(row.renews))],
    ]
  }),
  ['nonce', m.nonce.length === 16],
  ['broker', isOrigin(m.broker)],
  ['requester', isPartner(m.requester)],
  ['subject', isSubject(m.subject)],
  ['expire_time_ms', isTime(m.expireTimeMs)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
  ['subject', partnerOf(m.subject) === m.requester],
  ['expire_time_ms', within(m.timeMs, m.expireTimeMs, REQUEST_LIFE_MS)],
])

export const GrantTerms = kind('grant-terms', GrantTermsSchema, (m) => [
  ['fields', areFields(m.fields) && m.fields.length > 0 && once(m.fields)],
  ['uses', m.uses >= 1],
  ['broker', isOrigin(m.broker)],
  ['source', isPartner(m.source)],
  ['source_identity', isKey(m.sourceIdentity)],
  ['recipient', isPartner(m.recipient)],
  ['recipient_identity', isKey(m.recipientIdentity)],
  ['source_commitment', is32(m.sourceCommitment)],
  ['recipient_commitment', is32(m.recipientCommitment)],
  ['request', is32(m.request)],
  ['offer', is32(m.offer)],
  ['catalogue_version', is32(m.catalogueVersion)],
  ['language', isText(m.language, 35)],
  ['purpose', isPurpose(m.purpose)],
  ['rate', isRate(m.rate)],
  ['expire_time_ms', isTime(m.expireTimeMs)],
  ['log_tag', is32(m.logTag)],
  ['time_ms', isTime(m.timeMs)],
  ['previous', is32OrNone(m.previous)],
  ['expire_time_ms', m.expireTimeMs > m.timeMs],
  ['recipient', m.source !== m.recipient],
])

export const GrantChange = kind('grant-change', GrantChangeSchema, (m) => [
  ['verb', m.verb !== GrantChange_Verb.UNSPECIFIED && m.verb in GrantChange_Verb],
  ['sequence', m.sequence !== 0n],
  ['erase', !m.erase || m.verb === GrantChange_Verb.STOP],
  ['successor', is32OrNone(m.successor) && is32(m.successor) === (m.verb === GrantChange_Verb.NARROW)],
  ['broker', isOrigin(m.broker)],
  ['terms', is32(m.terms)],
  ['previous', is32(m.previous)],
  ['time_ms', isTime(m.timeMs)],
])

export const CustomerChangeKind = kind('customer-change', CustomerChangeSchema, (m: CustomerChange) => {
  const adds = m.verb === CustomerChange_Verb.ADD_AUTHENTICATOR
  const removes = m.verb === CustomerChange_Verb.REMOVE_AUTHENTICATOR
  return [
    ['sequence', m.sequence !== 0n],
    ['previous', m.sequence === 1n ? m.previous.length === 0 : is32(m.previous)],
    ['authenticator', adds || removes ? is32(m.authenticator) : true],
    ['wrapped', adds ? is32(m.wrapped) : true],
    ['label_commitment', adds ? is32(m.labelCommitment) : true],
    ['verb', adds || removes || m.verb === CustomerChange_Verb.REPORT_STOLEN],
    ['authenticator', adds || removes || m.authenticator.length === 0],
    ['wrapped', adds || m.wrapped.length === 0],
    ['label_commitment', adds || m.labelCommitment.length === 0],
    ['broker', isOrigin(m.broker)],
    ['customer', isCustomer(m.customer)],
    ['time_ms', isTime(m.timeMs)],
  ]
})

export const Acknowledgement = kind('acknowledgement', AcknowledgementSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['statement', is32(m.statement)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
])

export const PartnerChange = kind('partner-change', PartnerChangeSchema, (m) => [
  ['verb', m.verb !== PartnerChange_Verb.UNSPECIFIED && m.verb in PartnerChange_Verb],
  ['sequence', m.sequence !== 0n],
  ['reason', m.reason in ChangeReason && (m.reason === ChangeReason.UNSPECIFIED) === (m.verb === PartnerChange_Verb.UNSUSPEND)],
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['terms', is32(m.terms)],
  ['previous', is32(m.previous)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
])

export const ErasureAttestation = kind('erasure-attestation', ErasureAttestationSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['partner', isPartner(m.partner)],
  ['terms', is32(m.terms)],
  ['change', is32(m.change)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
])

export const AccountClosure = kind('account-closure', AccountClosureSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['customer', isCustomer(m.customer)],
  ['time_ms', isTime(m.timeMs)],
])

export const Fetch = kind('fetch', FetchSchema, (m) => [
  ['fields', areFields(m.fields) && m.fields.length > 0 && once(m.fields)],
  ['broker', isOrigin(m.broker)],
  ['recipient', isPartner(m.recipient)],
  ['terms', is32(m.terms)],
  ['purpose', isPurpose(m.purpose)],
  ['request_id', isUuid(m.requestId)],
  ['time_ms', isTime(m.timeMs)],
  ['sealing_key', is32(m.sealingKey)],
  ['checkpoint', isHead(m.checkpoint)],
  ['tap', is32OrNone(m.tap)],
])

export const LocationTap = kind('location-tap', LocationTapSchema, (m) => [
  ['fields', areFields(m.fields) && m.fields.length > 0 && m.fields.every(needsTap) && once(m.fields)],
  ['time_ms', isTime(m.timeMs)],
  ['expire_time_ms', isTime(m.expireTimeMs) && within(m.timeMs, m.expireTimeMs, TAP_LIFE_MS)],
  ['broker', isOrigin(m.broker)],
  ['terms', is32(m.terms)],
  ['request_id', isUuid(m.requestId)],
])

export const Provision = kind('provision', ProvisionSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['source', isPartner(m.source)],
  ['fetch', is32(m.fetch)],
  ['sealed', is32(m.sealed)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
  ...areMarks(m.preview, m.marks),
])

export const Preview = kind('preview', PreviewSchema, (m) => [
  ['fields', areFields(m.fields) && m.fields.length > 0 && !m.fields.some(needsTap) && once(m.fields)],
  ['broker', isOrigin(m.broker)],
  ['acceptance', is32(m.acceptance)],
  ['request', is32(m.request)],
  ['offer', is32(m.offer)],
  ['request_id', isUuid(m.requestId)],
  ['time_ms', isTime(m.timeMs)],
  ['sealing_key', is32(m.sealingKey)],
])

export const PreviewProvision = kind('preview-provision', PreviewProvisionSchema, (m) => [
  ['broker', isOrigin(m.broker)],
  ['source', isPartner(m.source)],
  ['preview', is32(m.preview)],
  ['sealed', is32(m.sealed)],
  ['time_ms', isTime(m.timeMs)],
  ['checkpoint', isHead(m.checkpoint)],
])
