// The reviewed catalogue (protocol, section 8): a TOML document, known by its hash. Of TOML it uses little, and this reads no
// more than that: what it can't read, it refuses.
import type { Offer } from '../gen/countersign/statement/v1/partner_pb.ts'
import { fieldDenied, purposeDenied } from './denied.ts'
import { equal, fromUtf8, sha256, type Bytes } from './bytes.ts'
import { isField, isPurpose, needsTap } from './names.ts'

export interface Field {
  path: string
  titles: Readonly<Record<string, string>>
  /** The IRI of its category in DPV. */
  category: string
  provenance: 'provided' | 'observed'
}
export interface Purpose {
  code: string
  /** The purpose's IRI in DPV. */
  iri: string
  titles: Readonly<Record<string, string>>
  fields: readonly string[]
  duration: bigint
  uses: number
  rate?: { uses: bigint; window: bigint }
  retention: bigint
}
export interface Catalogue {
  version: Bytes
  fields: ReadonlyMap<string, Field>
  purposes: ReadonlyMap<string, Purpose>
}

const MOST_BYTES = 256 * 1024
/** The formats that are read: by later lists, more is refused. */
const FORMATS = [1n, 2n, 3n]
const FIELD_TERM = 'https://w3id.org/dpv/pd#'
const PURPOSE_TERM = 'https://w3id.org/dpv#'

/** Reads a document; undefined for what is no catalogue. */
export async function readCatalogue(document: Uint8Array): Promise<Catalogue | undefined> {
  if (document.length > MOST_BYTES) return undefined
  try {
    const root = new Toml(fromUtf8(document)).read()
    const format = integer(root['format'])
    if (!FORMATS.includes(format)) return undefined
    const fields = new Map(tables(root['field']).map((raw) => [text(raw['path']), field(raw, Number(format))]))
    const purposes = new Map(tables(root['purpose']).map((raw) => [text(raw['code']), purpose(raw, fields, Number(format))]))
    return { version: await sha256(document), fields, purposes }
  } catch {
    return undefined
  }
}

/** The field of the offer by which it steps outside the catalogue. */
export function offerWithin(offer: Offer, catalogue: Catalogue): string | undefined {
  if (!equal(catalogue.version, offer.catalogueVersion)) return 'catalogue_version'
  const purpose = catalogue.purposes.get(offer.purpose)
  if (!purpose) return 'purpose'
  if (![...offer.requiredFields, ...offer.optionalFields].every((path) => catalogue.fields.has(path) && purpose.fields.includes(path))) return 'fields'
  // What was observed starts switched off, and what is required can't be switched off.
  if (offer.requiredFields.some((path) => catalogue.fields.get(path)?.provenance === 'observed')) return 'required_fields'
  if (offer.durationSeconds > purpose.duration) return 'duration_seconds'
  if (offer.uses > purpose.uses) return 'uses'
  const { rate } = purpose
  if (rate) {
    const asked = offer.rate
    const uses = BigInt(asked?.uses ?? offer.uses)
    // Rates as fractions, crosswise.
    if (uses > rate.uses || (asked && uses * rate.window > rate.uses * asked.windowSeconds)) return 'rate'
  }
  return offer.retentionSeconds > purpose.retention ? 'retention_seconds' : undefined
}

type Value = string | bigint | boolean | Value[] | Table
interface Table {
  [key: string]: Value
}

const refuse = (): never => {
  throw new SyntaxError('no catalogue')
}
const isTable = (value: Value | undefined): value is Table => typeof value === 'object' && !Array.isArray(value)
const text = (value: Value | undefined): string => (typeof value === 'string' ? value : refuse())
const integer = (value: Value | undefined): bigint => (typeof value === 'bigint' && value >= 0n ? value : refuse())
const table = (value: Value | undefined): Table => (isTable(value) ? value : refuse())
const tables = (value: Value | undefined): Table[] => (Array.isArray(value) ? value.map(table) : refuse())
const titles = (value: Value | undefined) => Object.fromEntries(Object.entries(table(value)).map(([tag, title]) => [tag, text(title)]))

/** What stands behind the `#` of a term of DPV. */
function term(value: Value | undefined, of: string): string {
  const iri = text(value)
  return iri.startsWith(of) ? iri.slice(of.length) : refuse()
}

function field(raw: Table, format: number): Field {
  const path = text(raw['path'])
  const provenance = raw['provenance'] === 'PROVIDED' ? 'provided' : raw['provenance'] === 'OBSERVED' ? 'observed' : refuse()
  // What finds a person is named as such by everybody.
  if (!isField(path) || (needsTap(path) && raw['sensitivity'] !== 'HIGH')) refuse()
  if (fieldDenied(path, term(raw['category'], FIELD_TERM), format)) refuse()
  return { path, titles: titles(raw['titles']), category: text(raw['category']), provenance }
}

function purpose(raw: Table, fields: ReadonlyMap<string, Field>, format: number): Purpose {
  const code = text(raw['code'])
  const paths = Array.isArray(raw['fields']) ? raw['fields'].map(text) : refuse()
  const ceilings = table(raw['ceilings'])
  // Where somebody stands is for fetching them, and for nothing else.
  if (paths.some(needsTap) && !code.split('_').includes('pickup')) refuse()
  if (!isPurpose(code) || !paths.every((path) => fields.has(path))) refuse()
  if (purposeDenied(code, term(raw['iri'], PURPOSE_TERM), format)) refuse()
  const rate = ceilings['rate'] === undefined ? undefined : table(ceilings['rate'])
  return {
    code,
    iri: text(raw['iri']),
    titles: titles(raw['titles']),
    fields: paths,
    duration: integer(ceilings['duration_seconds']),
    uses: Number(integer(ceilings['uses'])),
    ...(rate && { rate: { uses: integer(rate['uses']), window: integer(rate['window_seconds']) } }),
    retention: integer(ceilings['retention_seconds']),
  }
}

class Toml {
  private at = 0
  constructor(private readonly source: string) {}

  read(): Table {
    const root: Table = Object.create(null) as Table
    let open = root
    for (this.blank(true); this.at < this.source.length; this.blank(true)) {
      if (this.eat('[[')) {
        const key = this.key()
        this.need(']]')
        open = Object.create(null) as Table
        const list = (root[key] ??= [])
        if (!Array.isArray(list)) refuse()
        else list.push(open)
      } else if (this.eat('[')) {
        const keys = this.keys()
        this.need(']')
        open = root
        for (const [at, key] of keys.entries()) {
          const parent: Value | undefined = open[key]
          const inside: Value = Array.isArray(parent) ? parent[parent.length - 1]! : (parent ?? (Object.create(null) as Table))
          if (parent === undefined) open[key] = inside
          else if (at === keys.length - 1) refuse()
          open = table(inside)
        }
      } else this.pair(open)
      this.blank(false)
      if (this.at < this.source.length && !this.eat('\n')) refuse()
    }
    return root
  }

  private pair(into: Table): void {
    const keys = this.keys()
    this.need('=')
    this.blank(false)
    const last = keys.pop()!
    for (const key of keys) into = table((into[key] ??= Object.create(null) as Table))
    if (last in into) refuse()
    into[last] = this.value()
  }

  private value(): Value {
    if (this.eat('[')) {
      const list: Value[] = []
      for (this.blank(true); !this.eat(']'); this.blank(true)) {
        list.push(this.value())
        this.blank(true)
        if (!this.eat(',')) {
          this.need(']')
          break
        }
      }
      return list
    }
    if (this.eat('{')) {
      const inside: Table = Object.create(null) as Table
      for (this.blank(false); !this.eat('}'); this.blank(false)) {
        this.pair(inside)
        this.blank(false)
        if (!this.eat(',')) {
          this.need('}')
          break
        }
      }
      return inside
    }
    if (this.source[this.at] === '"') return this.string()
    const word = this.match(/true|false|[0-9](?:_?[0-9])*/y)
    return word === 'true' || word === 'false' ? word === 'true' : BigInt(word.replaceAll('_', ''))
  }

  private string(): string {
    // A basic string's escapes are those of JSON, but for \U and \e, which no catalogue needs.
    return text(JSON.parse(this.match(/"(?:[^"\\\u0000-\u001f\u007f]|\\["\\bfnrt]|\\u[0-9A-Fa-f]{4})*"/y)) as Value)
  }

  private key(): string {
    return this.source[this.at] === '"' ? this.string() : this.match(/[A-Za-z0-9_-]+/y)
  }
  private keys(): string[] {
    const keys: string[] = []
    do {
      this.blank(false)
      keys.push(this.key())
      this.blank(false)
    } while (this.eat('.'))
    return keys
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.source)?.[0]
    if (found === undefined) return refuse()
    this.at += found.length
    return found
  }
  private eat(what: string): boolean {
    if (!this.source.startsWith(what, this.at)) return false
    this.at += what.length
    return true
  }
  private need(what: string): void {
    this.blank(false)
    if (!this.eat(what)) refuse()
  }
  /** Spaces and comments; with `lines`, line ends too. */
  private blank(lines: boolean): void {
    this.match(lines ? /(?:[ \t\r\n]|#[^\n]*)*/y : /(?:[ \t]|\r(?=\n)|#[^\n]*)*/y)
  }
}
