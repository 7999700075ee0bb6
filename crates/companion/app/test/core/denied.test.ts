// What is never brokered: the app's lists are the broker's, and a catalogue that holds such a thing is none.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readCatalogue } from '../../src/core/catalogue.ts'
import { DATA, fieldDenied, LOCATION, PURPOSES, purposeDenied } from '../../src/core/denied.ts'

const grants = new URL('../../../../grants/', import.meta.url)
const rust = readFileSync(new URL('src/catalogue/denied.rs', grants), 'utf8')
const toml = readFileSync(new URL('catalogue/catalogue.toml', grants), 'utf8')
const read = (text: string) => readCatalogue(new TextEncoder().encode(text))
const split = (text: string) => text.split(/\s+/).filter(Boolean)

/** The terms and words of one of the Rust lists; of precise locations, or of all else. */
function listed(name: string, location: boolean): { terms: string[]; words: string[] } {
  const from = rust.indexOf(`const ${name}: &[Class]`)
  expect(from, name).toBeGreaterThan(0)
  const text = rust.slice(from, rust.indexOf('];', from)).replace(/\\\s*\n\s*/g, '')
  const found = { terms: [] as string[], words: [] as string[] }
  for (const [, denied, terms, words] of text.matchAll(/denied: Denied::(\w+),\s*terms: "([^"]*)",\s*words: "([^"]*)"/g)) {
    if ((denied === 'PreciseLocation') !== location) continue
    found.terms.push(...split(terms ?? ''))
    found.words.push(...split(words ?? ''))
  }
  return found
}

test('the lists are those by which the broker judges', () => {
  for (const [ours, since, name, location] of [
    [DATA, 1, 'DATA', false], [DATA, 2, 'DATA_SINCE_2', false], [PURPOSES, 1, 'PURPOSES', false], [PURPOSES, 2, 'PURPOSES_SINCE_2', false],
    [LOCATION, 1, 'DATA', true], [LOCATION, 2, 'DATA_SINCE_2', true], [LOCATION, 3, 'DATA_SINCE_3', true],
  ] as const) {
    const [, terms, words] = ours.find(([format]) => format === since)!
    expect([name, split(terms), split(words)]).toEqual([name, listed(name, location).terms, listed(name, location).words])
  }
  expect([...rust.matchAll(/const (\w+): &\[Class\]/g)].map(([, name]) => name).sort()).toEqual(['DATA', 'DATA_SINCE_2', 'DATA_SINCE_3', 'PURPOSES', 'PURPOSES_SINCE_2'])
})

test('by a term whatever its case, by a whole word, and by the format', () => {
  expect(fieldDenied('trip.fare', 'TravelHistory', 3)).toBe(true)
  expect(fieldDenied('trip.farewell_gate', 'TravelHistory', 3)).toBe(false)
  expect(fieldDenied('trip.eta', 'PASSPORT', 3)).toBe(true)
  expect(fieldDenied('stay.room', 'TravelHistory', 1)).toBe(false)
  expect(fieldDenied('stay.room', 'TravelHistory', 2)).toBe(true)
  expect(fieldDenied('pickup.location', 'GPSCoordinate', 3)).toBe(false)
  expect(fieldDenied('pickup.location', 'GPSCoordinate', 2)).toBe(true)
  expect(fieldDenied('pickup.spot', 'Location', 3)).toBe(true)
  expect(fieldDenied('home.location', 'GPSCoordinate', 3)).toBe(true)
  expect(purposeDenied('partner_ads', 'ServiceProvision', 3)).toBe(true)
  expect(purposeDenied('ride_updates', 'DirectMarketing', 3)).toBe(true)
  expect(purposeDenied('ride_updates', 'ServiceProvision', 3)).toBe(false)
})

test('the reviewed catalogue is read, and with one bad entry it is none', async () => {
  const catalogue = await read(toml)
  expect(catalogue?.fields.get('pickup.location')?.titles['en']).toBeTruthy()
  const bent: [string, string, string][] = [
    ['a fare', '"trip.eta"', '"trip.fare"'],
    ['a category of what is never brokered', 'category = "https://w3id.org/dpv/pd#Contact"', 'category = "https://w3id.org/dpv/pd#Friend"'],
    ['a category of another vocabulary', 'category = "https://w3id.org/dpv/pd#Contact"', 'category = "https://example.com/#Contact"'],
    ['what was inferred', 'provenance = "PROVIDED"', 'provenance = "INFERRED"'],
    ['marketing', 'code = "ride_updates"', 'code = "ride_marketing"'],
    ['a purpose of marketing by its term', 'iri = "https://w3id.org/dpv#ServiceProvision"', 'iri = "https://w3id.org/dpv#Marketing"'],
    ['a location that is no secret', 'category = "https://w3id.org/dpv/pd#GPSCoordinate"\nsensitivity = "HIGH"', 'category = "https://w3id.org/dpv/pd#GPSCoordinate"\nsensitivity = "LOW"'],
    ['a location for what fetches nobody', 'fields = ["ride.status",', 'fields = ["pickup.location", "ride.status",'],
    ['a format of the future', 'format = 3', 'format = 4'],
    ['no format', 'format = 3\n', ''],
  ]
  for (const [name, before, after] of bent) {
    expect(toml.includes(before), name).toBe(true)
    expect(await read(toml.replaceAll(before, after)), name).toBeUndefined()
  }
})
