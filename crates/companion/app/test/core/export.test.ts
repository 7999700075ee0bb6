// What an export is written in: the same JSON, and the same list of what is the broker's word, as the Rust SDK's. That whole exports are
// the same is for `e2e/core.test.ts`.
import { create, toBinary } from '@bufbuild/protobuf'
import { readFileSync } from 'node:fs'
import { strFromU8, unzipSync } from 'fflate'
import { expect, test } from 'vitest'

import { GrantChange_Verb, GrantChangeSchema } from '../../src/gen/countersign/statement/v1/grant_pb.ts'
import { EnvelopeSchema } from '../../src/gen/countersign/statement/v1/envelope_pb.ts'
import { CustomerSchema } from '../../src/gen/countersign/v1/customer_service_pb.ts'
import { GrantSchema } from '../../src/gen/countersign/v1/grant_service_pb.ts'
import { base64, fromUtf8, utf8 } from '../../src/core/bytes.ts'
import { Absent } from '../../src/core/export/absent.ts'
import { Files } from '../../src/core/export/files.ts'
import { document, dsse, List, message, moment } from '../../src/core/export/json.ts'
import { BROKERS_WORD } from '../../src/core/export/word.ts'

test('an envelope says what it signs', () => {
  const payload = toBinary(GrantChangeSchema, create(GrantChangeSchema, {
    broker: 'broker.test/log', sequence: 3n, verb: GrantChange_Verb.STOP, erase: true, previous: new Uint8Array([0xff]),
  }))
  const payloadType = 'application/vnd.countersign.grant-change.v1+protobuf'
  const envelope = create(EnvelopeSchema, { payloadType, payload, signatures: [{ keyId: 'k', signature: new Uint8Array([0]) }] })
  const said = { broker: 'broker.test/log', sequence: '3', verb: 'VERB_STOP', erase: true, previous: '/w==' }
  const whole = { payloadType, payload: base64(payload), signatures: [{ keyid: 'k', sig: 'AA==' }], said }
  expect(message(GrantSchema, create(GrantSchema, { changes: [envelope] }))).toEqual({ changes: [whole] })
  expect(dsse(create(EnvelopeSchema, { payloadType: 'text/plain' }))).toEqual({ payloadType: 'text/plain', payload: '', signatures: [] })
})

test('times and states are words, and what has its default value is absent', () => {
  const customer = create(CustomerSchema, { name: 'customers/x', createTime: { seconds: 1_790_000_000n, nanos: 5_000_000 } })
  expect(message(CustomerSchema, customer)).toEqual({ name: 'customers/x', create_time: '2026-09-21T14:13:20.005Z' })
  expect([moment(1_790_000_000_000n), moment(1_790_000_000_500n)]).toEqual(['2026-09-21T14:13:20Z', '2026-09-21T14:13:20.5Z'])
})

test('members are in order, and lists have an element a line', () => {
  expect(fromUtf8(document({ b: [], a: { d: 1, c: 'é' } }))).toBe('{\n  "a": {\n    "c": "é",\n    "d": 1\n  },\n  "b": []\n}\n')
  const list = new List()
  expect(fromUtf8(list.bytes())).toBe('[]\n')
  list.add({ b: 1, a: null })
  list.add([])
  expect(fromUtf8(list.bytes())).toBe('[\n{"a":null,"b":1},\n[]\n]\n')
})

test('the list of what is the broker’s word is the one of every export', () => {
  const rust = readFileSync(new URL('../../../../client/src/customer/export/word.rs', import.meta.url), 'utf8')
  const list = /const BROKERS_WORD[^=]*= \[([\s\S]*?)\n\];/.exec(rust)![1]!
  const words = [...list.matchAll(/"([a-z_.]+)"/g)].map(([, word]) => word)
  expect(Object.entries(BROKERS_WORD).flatMap(([file, members]) => [file, ...members])).toEqual(words)
})

test('a statement that no file has is named, once, in the order of the log', async () => {
  const absent = new Absent()
  const statement = create(EnvelopeSchema, { payload: utf8('there') })
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8('there')))
  absent.rests(9n, new Uint8Array(32).fill(1))
  absent.rests(3n, new Uint8Array(32).fill(2))
  absent.rests(4n, digest)
  absent.rests(11n, new Uint8Array(32).fill(2))
  await absent.written(statement, undefined)
  expect(fromUtf8(absent.list().bytes())).toBe(`[\n{"evidence":"${'02'.repeat(32)}","index":3},\n{"evidence":"${'01'.repeat(32)}","index":9}\n]\n`)
})

test('what is saved is a zip of the folder', async () => {
  const files = new Files()
  files.add('proofs/1.tlog-proof', utf8('a'))
  files.add('manifest.json', utf8('{}\n'))
  const whole = files.zip('mine', Date.UTC(2026, 0, 1))
  expect(whole.type).toBe('application/zip')
  const read = unzipSync(new Uint8Array(await whole.arrayBuffer()))
  expect(Object.entries(read).map(([name, bytes]) => [name, strFromU8(bytes)])).toEqual([['mine/proofs/1.tlog-proof', 'a'], ['mine/manifest.json', '{}\n']])
})
