// What travels from a partner's app to this one, and never through the broker (protocol, section 7).
import { fromBinary } from '@bufbuild/protobuf'

import { InvitationPackageSchema, type InvitationPackage, type LinkInvitation as Said } from '../gen/countersign/statement/v1/link_pb.ts'
import { equal, fromBase64url } from './bytes.ts'
import { labelCommitment } from './checks.ts'
import { blame, peek, Refusal, verifyPartner, type Signed } from './envelope.ts'
import { Failed, fail, misbehaved, type Party } from './errors.ts'
import { LinkInvitation } from './statements.ts'

const KEY = 'countersign-invitation='
const MOST_CHARS = 4096
const MOST_LABEL = 120

export interface Invitation {
  signed: Signed<Said>
  secret: Uint8Array
  label: string
}

const malformed = (check: string): never => fail({ kind: 'malformed', what: 'invitation', check })

/** The text, the fragment, or a whole URL with the fragment. */
export function parsePackage(input: string): InvitationPackage {
  const whole = input.trim()
  const text = whole.slice(whole.lastIndexOf(KEY) < 0 ? 0 : whole.lastIndexOf(KEY) + KEY.length)
  if (text.length > MOST_CHARS) malformed('length')
  const bytes = fromBase64url(text) ?? malformed('base64url')
  try {
    return fromBinary(InvitationPackageSchema, bytes)
  } catch {
    return malformed('package')
  }
}

/** The whole of it: key, signature, secret, label, time. Whether the identity is the brand's is what the person judges, by whose app it came from. */
export async function verifyPackage(parcel: InvitationPackage, broker: string, nowMs: number): Promise<Invitation> {
  let claimed: Said
  try {
    claimed = await peek(LinkInvitation, parcel.invitation)
  } catch (thrown) {
    if (thrown instanceof Refusal) return malformed(thrown.check)
    throw thrown
  }
  const who = claimed.partner as Party
  let signed: Signed<Said>
  try {
    signed = await verifyPartner(LinkInvitation, parcel.invitation, parcel.partnerKey, claimed.identityKey, claimed.partner, broker)
  } catch (thrown) {
    throw blame(who, 'invitation', thrown)
  }
  const wrong = (check: string): Failed => misbehaved(who, 'invitation', check)
  if (parcel.secret.length !== 32) throw wrong('secret')
  if (parcel.salt.length !== 32) throw wrong('salt')
  const isLabel = [...parcel.label].length <= MOST_LABEL && equal(await labelCommitment(parcel.salt, parcel.label), signed.said.labelCommitment)
  if (!isLabel) throw wrong('label')
  if (BigInt(nowMs) >= signed.said.expireTimeMs) fail({ kind: 'invitationExpired' })
  return { signed, secret: parcel.secret, label: parcel.label }
}
