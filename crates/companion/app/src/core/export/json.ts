// Messages as JSON, as an export has them everywhere: the mapping of protobuf with the fields' own names, keys in order, and an
// envelope as DSSE writes it with what it says beside it.
import { fromBinary, ScalarType, type DescField, type DescMessage, type Message } from '@bufbuild/protobuf'
import type { Timestamp } from '@bufbuild/protobuf/wkt'

import { file_countersign_statement_v1_customer } from '../../gen/countersign/statement/v1/customer_pb.ts'
import type { Envelope } from '../../gen/countersign/statement/v1/envelope_pb.ts'
import { file_countersign_statement_v1_erasure } from '../../gen/countersign/statement/v1/erasure_pb.ts'
import { file_countersign_statement_v1_grant } from '../../gen/countersign/statement/v1/grant_pb.ts'
import { file_countersign_statement_v1_link } from '../../gen/countersign/statement/v1/link_pb.ts'
import { file_countersign_statement_v1_partner } from '../../gen/countersign/statement/v1/partner_pb.ts'
import { file_countersign_statement_v1_transfer } from '../../gen/countersign/statement/v1/transfer_pb.ts'
import { base64, utf8, type Bytes } from '../bytes.ts'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

const STATEMENTS = new Map(
  [
    file_countersign_statement_v1_customer, file_countersign_statement_v1_erasure, file_countersign_statement_v1_grant,
    file_countersign_statement_v1_link, file_countersign_statement_v1_partner, file_countersign_statement_v1_transfer,
  ].flatMap((file) => file.messages.map((one) => [one.name, one] as const)),
)

export function message(desc: DescMessage, value: Message): Json {
  if (desc.typeName === 'google.protobuf.Timestamp') return timestamp(value as Timestamp)
  if (desc.typeName === 'countersign.statement.v1.Envelope') return dsse(value as Envelope)
  const json: Record<string, Json> = {}
  for (const field of desc.fields) {
    const read = member(field, (value as unknown as Record<string, unknown>)[field.localName])
    if (read !== undefined) json[field.name] = read
  }
  return json
}

/** What has its default value is absent. */
function member(field: DescField, value: unknown): Json | undefined {
  switch (field.fieldKind) {
    case 'message':
      return value === undefined ? undefined : message(field.message, value as Message)
    case 'list': {
      const items = value as unknown[]
      if (items.length === 0) return undefined
      if (field.listKind === 'message') return items.map((one) => message(field.message, one as Message))
      return items.map((one) => (field.listKind === 'enum' ? named(field.enum, one as number) : scalar(field.scalar, one)))
    }
    case 'enum':
      return value === 0 ? undefined : named(field.enum, value as number)
    case 'scalar':
      return value === 0 || value === 0n || value === '' || value === false || (value instanceof Uint8Array && value.length === 0) ? undefined : scalar(field.scalar, value)
    case 'map':
      return undefined
  }
}

const named = ({ value }: { value: Readonly<Record<number, { name: string }>> }, number: number): Json => value[number]?.name ?? number

function scalar(type: ScalarType, value: unknown): Json {
  if (type === ScalarType.BYTES) return base64(value as Uint8Array)
  return typeof value === 'bigint' ? String(value) : (value as Json)
}

/** RFC 3339 in UTC, with no more digits than it takes. */
function timestamp({ seconds, nanos }: Pick<Timestamp, 'seconds' | 'nanos'>): string {
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19)
  const rest = String(nanos).padStart(9, '0').replace(/0+$/, '')
  return `${whole}${rest && `.${rest}`}Z`
}
export const moment = (ms: bigint): string => timestamp({ seconds: ms / 1000n, nanos: Number(ms % 1000n) * 1_000_000 })

export function dsse({ payloadType, payload, signatures }: Envelope): Json {
  const kind = /^application\/vnd\.countersign\.([a-z-]+)\.v1\+protobuf$/.exec(payloadType)?.[1]
  const desc = kind && STATEMENTS.get(kind.split('-').map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join(''))
  return {
    payloadType, payload: base64(payload), signatures: signatures.map((one) => ({ keyid: one.keyId, sig: base64(one.signature) })),
    ...(desc && { said: message(desc, fromBinary(desc, payload)) }),
  }
}

/** The members of each object in the order of their names. */
function ordered(json: Json): Json {
  if (Array.isArray(json)) return json.map(ordered)
  if (json === null || typeof json !== 'object') return json
  return Object.fromEntries(Object.keys(json).sort().map((key) => [key, ordered(json[key]!)]))
}

/** A document of its own. */
export const document = (json: Json): Bytes => utf8(`${JSON.stringify(ordered(json), undefined, 2)}\n`)

/** A list, with one element a line. */
export class List {
  private readonly lines: string[] = []
  add(element: Json): void {
    this.lines.push(JSON.stringify(ordered(element)))
  }
  get length(): number {
    return this.lines.length
  }
  bytes(): Bytes {
    return utf8(this.lines.length === 0 ? '[]\n' : `[\n${this.lines.join(',\n')}\n]\n`)
  }
}
