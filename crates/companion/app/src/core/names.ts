// The forms of names (protocol, section 1). One way of writing each, compared byte by byte.
import { fromBase64url } from './bytes.ts'

const GIVEN = '[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])'
const SEGMENT = '(?=[a-z0-9_]{2,48}(?![a-z0-9_]))[a-z][a-z0-9]*(?:_[a-z0-9]+)*'
const form = (pattern: string) => {
  const whole = new RegExp(`^(?:${pattern})$`)
  // `$` also matches before a line break at the end in some dialects; not in this one without the flag m.
  return (text: string): boolean => whole.test(text)
}

export const isPartner = form(`partners/${GIVEN}`)
export const isAuditor = form(`auditors/${GIVEN}`)
export const isOperator = form(`operators/${GIVEN}`)
export const isSubject = form(`partners/${GIVEN}/subjects/[0-9a-f]{32}`)
export const isOffer = form('offers/[0-9a-f]{64}')
export const isLink = form('links/[0-9a-f]{64}')
export const isRequest = form('grantRequests/[0-9a-f]{64}')
export const isGrant = form('grants/[0-9a-f]{64}')
export const isCatalogue = form('catalogues/[0-9a-f]{64}')
export const isOrigin = form('[!-*,-~]{1,128}')
export const isUuid = form('[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
export const isPurpose = form(SEGMENT)
export const isField = form(`${SEGMENT}\\.${SEGMENT}`)

export const isKeyId = (text: string): boolean => text.length === 43 && fromBase64url(text) !== undefined
export const isCustomer = (text: string): boolean => text.startsWith('customers/') && isKeyId(text.slice(10))
export const isBroker = (text: string): boolean => text.startsWith('brokers/') && isOrigin(text.slice(8))
export const isPrincipal = (text: string): boolean =>
  isPartner(text) || isCustomer(text) || isAuditor(text) || isOperator(text) || isBroker(text)

/** `logs/-/entries/{index}`: decimal of 64 bits, without sign or leading zero. */
export function isEntry(text: string): boolean {
  const index = /^logs\/-\/entries\/(0|[1-9][0-9]{0,19})$/.exec(text)?.[1]
  return index !== undefined && BigInt(index) < 1n << 64n
}

/** The partner whose handle it is. */
export const partnerOf = (subject: string): string => subject.slice(0, subject.indexOf('/subjects/'))

const ADDRESS = /^(https|http):\/\/([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::([1-9][0-9]{0,4}))?\/[A-Za-z0-9._~!$&()*+,;=:@%/?-]*$/
const MOST_ADDRESS = 512
const MOST_HOST = 253
const MOST_PORT = 65_535

/** Where a code may go back to: https, or http on the machine itself; so plain that every parser of addresses reads the same host in it. */
export function isReturnAddress(text: string): boolean {
  const [, scheme, host = '', port] = (text.length <= MOST_ADDRESS && ADDRESS.exec(text)) || []
  const plain = scheme === 'https' || (scheme === 'http' && ['localhost', '127.0.0.1'].includes(host))
  return plain && host.length <= MOST_HOST && Number(port ?? 1) <= MOST_PORT
}

const WHERE = new Set([
  'gps', 'latitude', 'longitude', 'lat', 'lon', 'lng', 'coordinate', 'coordinates', 'position', 'location', 'whereabouts',
])
/** Whether the field is a precise location, as its path shows: it leaves by the customer's own tap alone. */
export const needsTap = (path: string): boolean => path.split(/[._]/).some((word) => WHERE.has(word))
