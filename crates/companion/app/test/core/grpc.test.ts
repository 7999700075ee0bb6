// Our own gRPC-Web: what of an answer is taken, however it is cut, and what of it is none.
import { create, toBinary } from '@bufbuild/protobuf'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CustomerSchema, CustomerService } from '../../src/gen/countersign/v1/customer_service_pb.ts'
import { EventService, WatchEventsResponseSchema } from '../../src/gen/countersign/v1/event_service_pb.ts'
import { makeClient, Status } from '../../src/core/grpc.ts'

const TRAILERS = 0x80
const ended: unknown[] = []
const endpoint = {
  address: 'https://broker.example', deadlineMs: 5_000, headers: async () => ({ authorization: 'Bearer a.b.c' }),
  ended: (thrown: unknown) => {
    ended.push(thrown)
    return thrown
  },
}
const customers = makeClient(CustomerService, endpoint)
const real = globalThis.fetch
let asked: { address: string; init: RequestInit }[] = []
beforeEach(() => {
  asked = []
  ended.length = 0
})
afterEach(() => {
  globalThis.fetch = real
})

function frame(flags: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(5 + bytes.length)
  out[0] = flags
  new DataView(out.buffer).setUint32(1, bytes.length)
  out.set(bytes, 5)
  return out
}
const trailers = (text: string) => frame(TRAILERS, new TextEncoder().encode(text))
const message = frame(0, toBinary(CustomerSchema, create(CustomerSchema, { name: 'customers/mei' })))
const OK = trailers('grpc-status: 0\r\n')

/** Answers with these bytes, in pieces of one size. */
function answers(parts: readonly Uint8Array[], piece = 1_000_000, headers: Record<string, string> = { 'content-type': 'application/grpc-web+proto' }, status = 200): void {
  const whole = Uint8Array.from(parts.flatMap((part) => [...part]))
  globalThis.fetch = (address, init) => {
    asked.push({ address: String(address), init: init ?? {} })
    const body = new ReadableStream<Uint8Array>({
      start(stream) {
        for (let at = 0; at < whole.length; at += piece) stream.enqueue(whole.slice(at, at + piece))
        stream.close()
      },
    })
    return Promise.resolve(new Response(body, { status, headers }))
  }
}
const get = () => customers.getCustomer({ name: 'customers/mei' })
const codeOf = async (call: Promise<unknown>): Promise<number> => call.then(() => 0, (thrown: unknown) => (thrown as Status).code)

test('a call is one message to one address, with the caller’s headers and no cookie', async () => {
  answers([message, OK])
  expect((await get()).name).toBe('customers/mei')
  expect(asked[0]?.address).toBe('https://broker.example/countersign.v1.CustomerService/GetCustomer')
  expect(asked[0]?.init).toMatchObject({ method: 'POST', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' })
  expect(asked[0]?.init.headers).toMatchObject({ authorization: 'Bearer a.b.c', 'grpc-timeout': '5000m', 'x-grpc-web': '1' })
  expect(ended).toEqual([undefined])
})

test.each([1, 2, 3, 4, 5, 6, 7, 11])('an answer that comes in pieces of %i bytes is the same', async (piece) => {
  answers([message, OK], piece)
  expect((await get()).name).toBe('customers/mei')
})

test('a stream brings each message as it comes, and ends by its status alone', async () => {
  const one = (index: number) => frame(0, toBinary(WatchEventsResponseSchema, create(WatchEventsResponseSchema, { event: { index: BigInt(index) } })))
  const read = async () => {
    const found: bigint[] = []
    for await (const { event } of makeClient(EventService, endpoint).watchEvents({ parent: 'customers/mei' })) found.push(event?.index ?? -1n)
    return found
  }
  answers([one(1), one(2), one(3), OK], 9)
  expect(await read()).toEqual([1n, 2n, 3n])
  answers([one(1), one(2)])
  await expect(read()).rejects.toMatchObject({ code: 14 })
})

test('who leaves a stream early ends it', async () => {
  const cancelled = vi.fn()
  globalThis.fetch = () => {
    const bytes = frame(0, toBinary(WatchEventsResponseSchema, create(WatchEventsResponseSchema, { event: { index: 1n } })))
    const body = new ReadableStream<Uint8Array>({ start: (stream) => stream.enqueue(bytes), cancel: cancelled })
    return Promise.resolve(new Response(body, { headers: { 'content-type': 'application/grpc-web+proto' } }))
  }
  for await (const _ of makeClient(EventService, endpoint).watchEvents({ parent: 'customers/mei' })) break
  await vi.waitFor(() => expect(cancelled).toHaveBeenCalled())
})

test('a refusal is read from trailers and from headers, with its details', async () => {
  // google.rpc.Status{code: 9, details: [Any{type_url: "t/x.Y", value: 01}]}
  const details = btoa(String.fromCharCode(8, 9, 26, 10, 10, 5, ...new TextEncoder().encode('t/x.Y'), 18, 1, 1))
  for (const headers of [undefined, { 'content-type': 'application/grpc-web+proto', 'grpc-status': '9', 'grpc-status-details-bin': details.replace(/=+$/, '') }]) {
    answers(headers ? [] : [trailers(`Grpc-Status: 9\r\ngrpc-message: no\r\ngrpc-status-details-bin: ${details}\r\n`)], 3, headers)
    const thrown = (await get().catch((one: unknown) => one)) as Status
    expect(thrown).toBeInstanceOf(Status)
    expect([thrown.code, [...thrown.details]]).toEqual([9, [['x.Y', Uint8Array.of(1)]]])
  }
})

test('what is no answer is none', async () => {
  const cases: [string, number, () => void][] = [
    ['cut within a message', 14, () => answers([message.slice(0, 8)])],
    ['without a status', 14, () => answers([message])],
    ['a page of somebody between', 14, () => answers([message, OK], 100, { 'content-type': 'text/html' })],
    ['an error of somebody between', 14, () => answers([], 1, { 'content-type': 'application/grpc-web+proto' }, 502)],
    ['no message', 13, () => answers([OK])],
    ['compressed', 13, () => answers([frame(1, message.slice(5)), OK])],
    ['no message of the kind', 13, () => answers([frame(0, Uint8Array.of(10, 200)), OK])],
    ['larger than any answer', 13, () => answers([Uint8Array.of(0, 255, 255, 255, 255), OK])],
    ['a status that is none', 2, () => answers([trailers('grpc-status: maybe\r\n')])],
    ['no status in the trailers', 2, () => answers([message, trailers('grpc-message: hi\r\n')])],
    ['details that are none', 9, () => answers([trailers('grpc-status: 9\r\ngrpc-status-details-bin: !!\r\n')])],
    ['nobody', 14, () => (globalThis.fetch = () => Promise.reject(new TypeError('no network')))],
  ]
  for (const [name, code, answer] of cases) {
    answer()
    expect([name, await codeOf(get())]).toEqual([name, code])
    expect(ended.at(-1), name).toBeInstanceOf(Status)
  }
})
