// Linking (protocol, section 7), and the links that other devices made.
import { LinkService } from '../gen/countersign/v1/link_service_pb.ts'
import { Link_State, type Link } from '../gen/countersign/v1/link_service_pb.ts'
import { equal, own, type Bytes } from './bytes.ts'
import { codeMac } from './checks.ts'
import type { Core } from './core.ts'
import { publicKey } from './ed25519.ts'
import { blame, digestOf, envelopeBytes, envelopeFrom, named, peek, Refusal, sign, verify, verifyPartner } from './envelope.ts'
import { Failed, fail, misbehaved, type Party } from './errors.ts'
import { linkKey, type Deriving } from './hkdf.ts'
import type { Invitation } from './invitation.ts'
import { parsePackage, verifyPackage } from './invitation.ts'
import { LinkAcceptance, LinkConfirmation, LinkInvitation } from './statements.ts'
import { stands, type LinkRow } from './book.ts'
import { again, allPages, PAGE_SIZE } from './transport.ts'
import type { InvitationView, LinkView, PartnerName } from './types.ts'
import { brand } from './views.ts'

const CODES = 1_000_000
/** How a partner's page is handed the code: in the fragment, which no server is sent. */
const CODE_MARK = '#countersign-code='
/** The largest multiple of a million that 32 bits hold: what is drawn above it is drawn anew, so every code is as likely. */
const FAIR = 4_294_000_000

/** What was read last waits for the person's word, in memory alone. */
const waiting = new WeakMap<Core, Invitation>()

export async function readInvitation(core: Core, text: string): Promise<InvitationView> {
  waiting.delete(core)
  const invitation = await verifyPackage(parsePackage(text), core.origin, core.now())
  const { said } = invitation.signed
  const pinned = await core.book.identityOf(said.partner)
  if (pinned && !equal(pinned, said.identityKey)) throw misbehaved(said.partner as Party, 'invitation', 'identity')
  if (core.keys) await core.learnPartners([said.partner])
  waiting.set(core, invitation)
  return { brand: await brand(core, said.partner), label: invitation.label, expires: Number(said.expireTimeMs), replaces: said.replaces.length > 0 }
}

export async function acceptInvitation(core: Core): Promise<LinkView> {
  core.monitor.check()
  const invitation = waiting.get(core) ?? fail({ kind: 'malformed', what: 'invitation', check: 'none' })
  const { signed, secret, label } = invitation
  const { said, digest } = signed
  if (BigInt(core.now()) >= said.expireTimeMs) fail({ kind: 'invitationExpired' })
  const name = named('links', digest)
  let row = await core.book.link(name)
  if (!row) {
    const made = await core.unlocked(async ({ root }) => {
      await core.head(said.checkpoint, said.partner, 'invitation')
      const key = await linkKey(root, digest)
      const code = drawCode()
      const acceptance = await sign(LinkAcceptance, {
        broker: core.origin, invitation: digest, linkKey: key.bytes, codeMac: await codeMac(secret, digest, key, code), timeMs: BigInt(core.now()),
      }, [key])
      return { key, code, acceptance }
    })
    row = await core.book.enterLink({
      name, invitation: digest, partner: said.partner, identity: own(said.identityKey), subject: said.subject, label,
      acceptance: envelopeBytes(made.acceptance), acceptanceDigest: await digestOf(made.acceptance), linkKey: made.key.bytes, code: made.code,
      expires: Number(said.expireTimeMs), confirmed: false, ended: false, ...(said.returnAddress && { returnAddress: said.returnAddress }),
    })
  }
  const statement = envelopeFrom(row.acceptance)
  try {
    await again(() => core.client(LinkService).acceptLinkInvitation({ name, statement }))
  } catch (thrown) {
    if (thrown instanceof Failed && thrown.error.kind === 'refused' && thrown.error.reason === 'INVITATION_EXPIRED') fail({ kind: 'invitationExpired' })
    throw thrown
  }
  core.tell({ what: 'links' })
  return linkView(core, row)
}

function drawCode(): string {
  for (;;) {
    const drawn = crypto.getRandomValues(new Uint32Array(1))[0]!
    if (drawn < FAIR) return String(drawn % CODES).padStart(6, '0')
  }
}

export async function links(core: Core): Promise<LinkView[]> {
  try {
    await learnLinks(core)
  } catch (thrown) {
    if (!(thrown instanceof Failed) || thrown.error.kind !== 'unreachable') throw thrown
  }
  return linksSeen(core)
}

/** What the book has of them. */
export const linksSeen = async (core: Core): Promise<LinkView[]> => Promise.all((await core.book.links()).map((row) => linkView(core, row)))

async function linkView(core: Core, row: LinkRow): Promise<LinkView> {
  const state = row.ended ? 'ended' : row.confirmed ? 'confirmed' : row.expires <= core.now() ? 'lapsed' : 'accepted'
  return {
    name: row.name, brand: { ...(await brand(core, row.partner as PartnerName)), label: row.label }, label: row.label,
    code: state === 'accepted' ? row.code : '', state, expires: row.expires,
    ...(state === 'accepted' && row.code && row.returnAddress && { returnTo: `${row.returnAddress}${CODE_MARK}${row.code}` }),
  }
}

/**
 * Holds the broker's list against the book. With the root secret at hand, takes over what other devices linked; without it, those
 * are left for the next gesture. Says whether any is left. A confirmation that does not verify leaves its own link unconfirmed.
 */
export async function learnLinks(core: Core, root?: Deriving): Promise<{ unknown: number }> {
  const parent = core.customer
  const listed = await allPages(async (pageToken) => {
    const { links: items, nextPageToken } = await core.client(LinkService).listLinks({ parent, pageSize: PAGE_SIZE, pageToken })
    return { items, nextPageToken }
  })
  let unknown = 0
  let changed = false
  for (const link of listed) {
    const row = (await core.book.link(link.name)) ?? (root && link.acceptance ? await adopt(core, link, root) : undefined)
    if (!row) {
      unknown += link.acceptance ? 1 : 0
      continue
    }
    changed = (await learn(core, row, link)) || changed
  }
  if (changed) core.tell({ what: 'links' })
  return { unknown }
}

async function learn(core: Core, row: LinkRow, link: Link): Promise<boolean> {
  if (link.state === Link_State.REPLACED || link.state === Link_State.STOLEN) {
    // The broker's word alone; but it takes nothing away that the broker could not refuse as well.
    if (!row.ended) await core.book.changeLink(row.name, { ended: true })
    return !row.ended
  }
  if (stands(row) || !link.confirmation) return false
  try {
    const who = row.partner as Party
    const confirmed = await firstCertified(link, row, core)
    if (confirmed.said.partner !== row.partner || !equal(confirmed.said.acceptance, row.acceptanceDigest)) throw misbehaved('broker', 'confirmation', 'acceptance')
    await core.head(confirmed.said.checkpoint, who, 'confirmation')
  } catch (thrown) {
    if (thrown instanceof Failed && thrown.error.kind === 'misbehaved' && thrown.error.who !== 'broker') return false
    throw thrown
  }
  await core.book.changeLink(row.name, { confirmed: true, ended: false, code: '' })
  return true
}

/** A link carries the certificates of invitation and confirmation, in no order that matters. */
async function firstCertified(link: Link, row: LinkRow, core: Core) {
  let last: unknown = new Refusal('partner_key')
  for (const certificate of link.partnerKeys) {
    try {
      return await verifyPartner(LinkConfirmation, link.confirmation, certificate, row.identity, row.partner, core.origin)
    } catch (thrown) {
      last = thrown
    }
  }
  throw blame(row.partner as Party, 'confirmation', last)
}

/** The acceptance by the link's own key vouches for the invitation, and so for the identity in it. */
async function adopt(core: Core, link: Link, root: Deriving): Promise<LinkRow> {
  const wrong = (check: string) => misbehaved('broker', 'link', check)
  try {
    const said = await peek(LinkInvitation, link.invitation)
    const digest: Bytes = await digestOf(link.invitation!)
    if (named('links', digest) !== link.name) throw wrong('name')
    const key = await linkKey(root, digest)
    const acceptance = await verify(LinkAcceptance, link.acceptance, [key], core.origin)
    if (!equal(acceptance.said.invitation, digest) || !equal(acceptance.said.linkKey, key.bytes)) throw wrong('acceptance')
    return await core.book.enterLink({
      name: link.name, invitation: digest, partner: said.partner, identity: own(said.identityKey), subject: said.subject, label: '',
      acceptance: envelopeBytes(acceptance.envelope), acceptanceDigest: acceptance.digest, linkKey: key.bytes, code: '',
      expires: Number(said.expireTimeMs), confirmed: false, ended: false,
    })
  } catch (thrown) {
    throw thrown instanceof Failed ? thrown : blame('broker', 'link', thrown)
  }
}

/** A link's public key. */
export async function keyOf(row: LinkRow) {
  return (await publicKey(row.linkKey)) ?? fail({ kind: 'storage', problem: 'damaged' })
}
