// A consent receipt of one grant: ISO/IEC TS 27560:2023 in the terms of the W3C Data Privacy Vocabulary, as JSON-LD whose context
// stands in the file (`docs/export.md`).
import { Kind } from '../../gen/countersign/log/v1/record_pb.ts'
import type { GrantTerms } from '../../gen/countersign/statement/v1/grant_pb.ts'
import type { Offer } from '../../gen/countersign/statement/v1/partner_pb.ts'
import { hex } from '../bytes.ts'
import type { Catalogue } from '../catalogue.ts'
import { moment, type Json } from './json.ts'

const RECEIPT_SCHEMA = 'https://w3id.org/dpv/schema/dpv-27560#receipt'
const RECORD_SCHEMA = 'https://w3id.org/dpv/schema/dpv-27560#record'

/** One thing that happened to a grant, as its record in the log says. */
export interface Happened {
  kind: Kind
  timeMs: bigint
  index: bigint
}

export interface Consent {
  origin: string
  customer: string
  grant: string
  terms: GrantTerms
  offer: Offer
  catalogue: Catalogue
  happened: readonly Happened[]
  now: bigint
}

const time = (ms: bigint): Json => ({ '@type': 'xsd:dateTime', '@value': moment(ms) })

/** An origin with what no IRI may hold written as percent and hex; it is ASCII. */
const plain = (origin: string) => origin.replace(/[^A-Za-z0-9\-._~:/[\]@!$&'()*,;=]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
const iriOf = (origin: string, name: string) => `https://${plain(origin)}/${name}`

export function receipt(consent: Consent): Json {
  const iri = (name: string) => iriOf(consent.origin, name)
  return {
    '@context': {
      dpv: 'https://w3id.org/dpv#', dct: 'http://purl.org/dc/terms/', rdf: 'http://www.w3.org/1999/02/22-rdf-syntax-ns#', schema: 'https://schema.org/',
      skos: 'http://www.w3.org/2004/02/skos/core#', xsd: 'http://www.w3.org/2001/XMLSchema#',
    },
    '@id': `${iri(consent.grant)}#receipt`,
    '@type': 'dpv:ConsentReceipt',
    'dct:conformsTo': { '@id': RECEIPT_SCHEMA },
    'dpv:hasIdentifier': `${consent.grant}#receipt`,
    'dct:created': time(consent.now),
    'dct:creator': { '@id': iri(consent.customer) },
    'dpv:hasRecordOfActivity': record(consent, iri),
  }
}

type Iri = (name: string) => string

function record(consent: Consent, iri: Iri): Json {
  const { terms, offer, grant, customer } = consent
  // The language that she read, or the first of the offer's.
  const text = offer.texts.find((one) => one.language === terms.language) ?? offer.texts[0]!
  return {
    '@id': iri(grant),
    '@type': 'dpv:ConsentRecord',
    'dct:conformsTo': { '@id': RECORD_SCHEMA },
    'dct:identifier': grant,
    'dct:replaces': terms.previous.length > 0 ? { '@id': iri(`grants/${hex(terms.previous)}`) } : null,
    'dpv:hasDataSubject': { '@id': iri(customer), '@type': 'dpv:DataSubject' },
    'dpv:hasDataController': {
      '@id': iri(terms.recipient), '@type': 'dpv:DataController', 'dpv:hasIdentifier': terms.recipient, 'dpv:hasName': offer.controller,
      'schema:contactPoint': { '@type': 'schema:ContactPoint', 'schema:telephone': offer.contactPhone },
    },
    'dpv:hasAuthority': { '@type': 'dpv:Authority', 'dpv:hasName': offer.complaintBody },
    'dpv:hasLegalBasis': { '@id': 'dpv:ExplicitlyExpressedConsent' },
    'dpv:hasApplicableLaw': { '@type': 'dpv:Law', 'dct:title': offer.law },
    'dpv:hasNotice': {
      '@id': iri(`offers/${hex(terms.offer)}`), '@type': 'dpv:ConsentNotice', 'dct:date': time(offer.timeMs), 'dct:language': text.language,
      'dct:description': [text.reason, text.benefit, text.ends],
    },
    'dpv:hasProcess': process(consent, iri),
    'dpv:hasConsentStatus': statuses(consent, iri),
  }
}

function process({ terms, offer, catalogue }: Consent, iri: Iri): Json {
  const base = iri(`catalogues/${hex(terms.catalogueVersion)}`)
  const titled = (titles: Readonly<Record<string, string>>) => titles[terms.language] ?? titles['en'] ?? ''
  const purpose = catalogue.purposes.get(terms.purpose)
  const fields = terms.fields.map((path): Json => {
    const field = catalogue.fields.get(path)
    return {
      '@id': `${base}#${path}`,
      '@type': 'dpv:PersonalData',
      'skos:broader': field ? { '@id': field.category } : null,
      'dct:identifier': path,
      'dct:title': field ? titled(field.titles) : null,
      'dpv:hasNecessity': { '@id': offer.optionalFields.includes(path) ? 'dpv:Optional' : 'dpv:Required' },
      'dpv:hasDataSource': {
        '@type': 'dpv:DataControllerDataSource', 'dpv:hasEntity': { '@id': iri(terms.source) },
        'dpv:hasProcessing': { '@id': field?.provenance === 'observed' ? 'dpv:Observe' : 'dpv:Obtain' },
      },
    }
  })
  const { uses, rate, retentionSeconds } = terms
  return {
    '@type': 'dpv:Process',
    'dpv:hasPurpose': {
      '@id': `${base}#${terms.purpose}`, '@type': 'dpv:Purpose', 'skos:broader': purpose ? { '@id': purpose.iri } : null, 'dct:identifier': terms.purpose,
      'dct:title': purpose ? titled(purpose.titles) : null,
    },
    'dpv:hasPersonalData': fields,
    'dpv:hasProcessing': { '@id': 'dpv:Transfer' },
    'dpv:hasRecipient': { '@id': iri(terms.recipient) },
    'dpv:hasStorageCondition': {
      '@type': 'dpv:StorageDuration',
      'dpv:hasDuration': { '@type': 'dpv:TemporalDuration', 'rdf:value': { '@type': 'xsd:duration', '@value': `PT${retentionSeconds}S` } },
    },
    'dpv:hasFrequency': {
      '@type': 'dpv:Frequency', 'rdf:value': uses,
      'dct:description': rate ? `${uses} uses in all, ${rate.uses} in ${rate.windowSeconds} s` : `${uses} uses in all`,
    },
  }
}

type Status = [type: string, title: string, by: string | undefined]

/** What was indicated, by whom and when: as it was signed, what the log says came after, and the end that follows from the terms alone. */
function statuses({ terms, customer, origin, happened, now }: Consent, iri: Iri): Json {
  const [invalid, valid] = ['dpv:ConsentStatusInvalidForProcessing', 'dpv:ConsentStatusValidForProcessing']
  const broker = `brokers/${origin}`
  const told: Partial<Record<Kind, Status>> = {
    [Kind.GRANT_PAUSED]: [invalid, 'Paused', customer],
    [Kind.GRANT_RESUMED]: [valid, 'Resumed', customer],
    [Kind.GRANT_WITHDRAWN]: ['dpv:ConsentWithdrawn', 'Stopped', customer],
    // Narrowing and renewing are hers alone. Her consent goes on in the receipt of the newer revision.
    [Kind.GRANT_SUPERSEDED]: [invalid, 'A newer revision stands in its place', customer],
    [Kind.GRANT_SUSPENDED]: [invalid, 'Suspended', terms.source],
    [Kind.GRANT_SUSPENDED_BY_OPERATOR]: [invalid, 'Suspended', broker],
    [Kind.GRANT_UNSUSPENDED]: [valid, 'Suspension ended', terms.source],
    [Kind.GRANT_UNSUSPENDED_BY_OPERATOR]: [valid, 'Suspension ended', broker],
    [Kind.GRANT_REVOKED]: ['dpv:ConsentRevoked', 'Revoked', undefined],
    [Kind.GRANT_REVOKED_BY_OPERATOR]: ['dpv:ConsentRevoked', 'Revoked', broker],
    // Of the transfers, the one that spent the last use.
    [Kind.TRANSFER]: ['dpv:ConsentExpired', 'All uses are spent', undefined],
  }
  const ends = [Kind.GRANT_WITHDRAWN, Kind.GRANT_SUPERSEDED, Kind.GRANT_REVOKED, Kind.GRANT_REVOKED_BY_OPERATOR, Kind.TRANSFER]
  const events: Json[] = [{
    '@type': ['dpv:ConsentGiven', 'dpv:ExplicitlyExpressedConsent'], 'dpv:isIndicatedAtTime': time(terms.timeMs), 'dpv:isIndicatedBy': { '@id': iri(customer) },
    'dpv:hasIndicationMethod': 'Signed terms', 'dpv:hasDuration': { '@type': 'dpv:UntilTimeDuration', 'rdf:value': time(terms.expireTimeMs) },
  }]
  for (const { kind, timeMs, index } of happened) {
    const status = told[kind]
    if (!status) continue
    const [type, title, by] = status
    events.push({
      '@type': type, 'dct:title': title, 'dpv:isIndicatedAtTime': time(timeMs), 'dpv:isIndicatedBy': by ? { '@id': iri(by) } : null,
      'dct:source': { '@id': iri(`logs/-/entries/${index}`) },
    })
  }
  if (!happened.some(({ kind }) => ends.includes(kind)) && now >= terms.expireTimeMs) {
    events.push({ '@type': 'dpv:ConsentExpired', 'dct:title': 'Its time is over', 'dpv:isIndicatedAtTime': time(terms.expireTimeMs), 'dpv:isIndicatedBy': { '@id': iri(customer) } })
  }
  return events
}
