// From what was verified to what a screen draws, in the person's language.
import { BenefitKind as WireBenefit, type Offer, type OfferText, type Rate } from '../gen/countersign/statement/v1/partner_pb.ts'
import type { Catalogue } from './catalogue.ts'
import type { Core } from './core.ts'
import { needsTap } from './names.ts'
import type { BenefitKind, BrandView, FieldView, PartnerName, PurposeView, RateView, TermsView, TextView } from './types.ts'

/** Best first: the very tag, then one of the same language and script, then of the same language. */
export function pick(wanted: readonly string[], there: readonly string[]): { tag: string; fallback: boolean } {
  for (const want of wanted) {
    for (let tag = want.toLowerCase(); tag !== ''; tag = tag.includes('-') ? tag.slice(0, tag.lastIndexOf('-')) : '') {
      const found = there.find((one) => one.toLowerCase() === tag) ?? there.find((one) => script(one) === script(tag))
      if (found) return { tag: found, fallback: false }
    }
  }
  return { tag: there.find((one) => one === 'en') ?? there[0] ?? '', fallback: true }
}

/** `zh-CN` and `zh-Hans` are read by the same people, `zh-TW` by others. */
function script(tag: string): string {
  try {
    const { language, script } = new Intl.Locale(tag).maximize()
    return `${language}-${script}`
  } catch {
    return tag
  }
}

export async function brand(core: Core, name: string, displayName?: string): Promise<BrandView> {
  const known = core.partners[name]
  const link = (await core.book.links()).filter((one) => one.partner === name && one.confirmed && !one.ended).at(-1)
  const shown = displayName || known?.displayName
  return {
    name: name as PartnerName,
    displayName: shown || name.slice('partners/'.length),
    linked: link !== undefined,
    ...(link && { label: link.label }),
    ...(known?.phone && { phone: known.phone }),
  }
}

function titled(core: Core, titles: Readonly<Record<string, string>> | undefined, code: string) {
  if (!titles) return { title: code, fallback: true }
  const { tag, fallback } = pick(core.languages, Object.keys(titles))
  return { title: titles[tag] ?? code, fallback }
}

export function fieldView(core: Core, catalogue: Catalogue | undefined, path: string): FieldView {
  const field = catalogue?.fields.get(path)
  return { path, ...titled(core, field?.titles, path), provenance: field?.provenance ?? 'provided', needsTap: needsTap(path) }
}

export const purposeView = (core: Core, catalogue: Catalogue | undefined, code: string): PurposeView => ({
  code, ...titled(core, catalogue?.purposes.get(code)?.titles, code),
})

export const rateView = (rate: Rate | undefined): { rate?: RateView } =>
  rate ? { rate: { uses: rate.uses, windowSeconds: Number(rate.windowSeconds) } } : {}

/** In this language if it is given and there, else in the person's. */
export function textOf(core: Core, offer: Offer, language?: string): { text: OfferText; fallback: boolean } {
  const { tag, fallback } = pick(core.languages, offer.texts.map((text) => text.language))
  const signed = offer.texts.find((text) => text.language === language)
  const text = signed ?? offer.texts.find((one) => one.language === tag) ?? offer.texts[0]!
  return { text, fallback: fallback || text.language !== tag }
}

const KINDS: Readonly<Record<number, BenefitKind>> = {
  [WireBenefit.DISCOUNT]: 'discount', [WireBenefit.ONE_TAP]: 'oneTap', [WireBenefit.SPECIAL_SERVICE]: 'specialService',
  [WireBenefit.TIMELY]: 'timely', [WireBenefit.ADVICE]: 'advice', [WireBenefit.CROSS_PLATFORM]: 'crossPlatform',
}

export interface Limits {
  uses: number
  rate?: Rate | undefined
  retentionSeconds: bigint
  language?: string
}

export async function termsView(core: Core, offer: Offer, catalogue: Catalogue | undefined, limits: Limits, names: { source?: string; recipient?: string } = {}): Promise<TermsView> {
  const { text, fallback } = textOf(core, offer, limits.language)
  const shown: TextView = { language: text.language, fallback, reason: text.reason, benefit: text.benefit, ends: text.ends }
  return {
    source: await brand(core, offer.source, names.source),
    recipient: { ...(await brand(core, offer.recipient, names.recipient)), phone: offer.contactPhone },
    purpose: purposeView(core, catalogue, offer.purpose),
    text: shown,
    benefitKind: KINDS[offer.benefitKind] ?? 'specialService',
    uses: limits.uses,
    ...rateView(limits.rate),
    retentionSeconds: Number(limits.retentionSeconds),
    law: offer.law, controller: offer.controller, complaintBody: offer.complaintBody, contactPhone: offer.contactPhone,
  }
}

/** What a person reads out on the phone: the beginning of the log's tag, in groups. */
export function receiptCode(tag: Uint8Array): string {
  return Array.from(tag.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('').toUpperCase().replace(/.{4}(?=.)/g, '$&-')
}

