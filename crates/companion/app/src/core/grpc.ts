// gRPC-Web (application/grpc-web+proto) over fetch: the little of it that a broker is called by. Calls of one message, and streams
// of answers; no compression, no text encoding.
import {
  create, fromBinary, toBinary, type DescMessage, type DescMethodServerStreaming, type DescMethodUnary, type DescService, type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'

import { concat, fromBase64, type Bytes } from './bytes.ts'

export interface CallOptions {
  signal?: AbortSignal
  timeoutMs?: number
}

/** A service's methods, typed by its descriptor. */
export type Client<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S['method'][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : never
}

/** An answer that is no success: the gRPC code, and what `google.rpc.Status` carries, each by its type. Without an answer, code 14. */
export class Status extends Error {
  constructor(readonly code: number, readonly details: ReadonlyMap<string, Uint8Array> = new Map()) {
    super(`status ${code}`)
  }
}
const UNAVAILABLE = 14
const UNKNOWN = 2
const INTERNAL = 13

/** The largest answer of the API. */
const MOST_BYTES = 4 * 1024 * 1024
const PREFIX = 5
const TRAILERS = 0x80

export interface Endpoint {
  address: string
  deadlineMs: number
  /** What goes along with each call. */
  headers: () => Promise<Record<string, string>>
  /** Sees each call's end, and says what is thrown. */
  ended: (error: unknown) => unknown
}

export function makeClient<S extends DescService>(service: S, endpoint: Endpoint): Client<S> {
  const client: Record<string, unknown> = {}
  for (const method of service.methods) {
    const path = `${endpoint.address}/${service.typeName}/${method.name}`
    const ask = (request: MessageInitShape<DescMessage>, options: CallOptions = {}) => stream(path, method, request, endpoint, options)
    client[method.localName] = method.methodKind === 'unary' ? async (request: MessageInitShape<DescMessage>, options?: CallOptions) => single(ask(request, options), endpoint) : ask
  }
  return client as Client<S>
}

async function single<T>(answers: AsyncIterable<T>, endpoint: Endpoint): Promise<T> {
  let found: T | undefined
  for await (const answer of answers) found ??= answer
  if (found === undefined) throw endpoint.ended(new Status(INTERNAL))
  return found
}

async function* stream(
  path: string, method: { input: DescMessage; output: DescMessage }, request: MessageInitShape<DescMessage>, endpoint: Endpoint, options: CallOptions,
): AsyncGenerator<MessageShape<DescMessage>> {
  const timeoutMs = options.timeoutMs ?? endpoint.deadlineMs
  const deadline = AbortSignal.timeout(timeoutMs)
  const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline
  try {
    const message = toBinary(method.input, create(method.input, request))
    const prefix = new Uint8Array(PREFIX)
    new DataView(prefix.buffer).setUint32(1, message.length)
    const answer = await fetch(path, {
      method: 'POST', body: concat(prefix, message), signal,
      headers: {
        'content-type': 'application/grpc-web+proto', accept: 'application/grpc-web+proto', 'x-grpc-web': '1', 'grpc-timeout': `${timeoutMs}m`, ...(await endpoint.headers()),
      },
      // Neither cookies nor the page's address go along.
      credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store', redirect: 'error',
    })
    // An answer without a body says how it ended in its headers.
    if (answer.headers.get('grpc-status')) check((name) => answer.headers.get(name) ?? '')
    else if (!answer.ok || !answer.body || !answer.headers.get('content-type')?.startsWith('application/grpc-web')) throw new Status(UNAVAILABLE)
    else yield* messages(answer.body, method.output)
    endpoint.ended(undefined)
  } catch (thrown) {
    throw endpoint.ended(thrown instanceof Status ? thrown : new Status(UNAVAILABLE))
  }
}

async function* messages<O extends DescMessage>(body: ReadableStream<Uint8Array>, output: O): AsyncGenerator<MessageShape<O>> {
  const reader = body.getReader()
  let held: Bytes = new Uint8Array()
  try {
    for (;;) {
      while (held.length >= PREFIX) {
        const length = new DataView(held.buffer).getUint32(1)
        if (length > MOST_BYTES) throw new Status(INTERNAL)
        if (held.length < PREFIX + length) break
        const [flags, frame] = [held[0]!, held.slice(PREFIX, PREFIX + length)]
        held = held.slice(PREFIX + length)
        if (flags === TRAILERS) return checkTrailers(frame)
        if (flags !== 0) throw new Status(INTERNAL)
        try {
          yield fromBinary(output, frame)
        } catch (thrown) {
          throw thrown instanceof Status ? thrown : new Status(INTERNAL)
        }
      }
      const { done, value } = await reader.read()
      // A stream that ends without a status was cut off.
      if (done) throw new Status(UNAVAILABLE)
      held = concat(held, value)
    }
  } finally {
    reader.cancel().catch(() => undefined)
  }
}

function checkTrailers(frame: Uint8Array): void {
  const trailers = new Map(
    new TextDecoder().decode(frame).split('\r\n').filter((line) => line.includes(':')).map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()] as const
    }),
  )
  check((name) => trailers.get(name) ?? '')
}

function check(header: (name: string) => string): void {
  const text = header('grpc-status')
  const code = /^[0-9]{1,2}$/.test(text) ? Number(text) : UNKNOWN
  if (code !== 0) throw new Status(code, details(header('grpc-status-details-bin')))
}

/** `google.rpc.Status`: code 1, message 2, details 3, each an `Any` of type 1 and value 2. */
function details(text: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  const bytes = fromBase64(text.replace(/=+$/, '').padEnd(Math.ceil(text.replace(/=+$/, '').length / 4) * 4, '='))
  if (!bytes) return found
  try {
    for (const any of fields(bytes, 3)) {
      const [type, value] = [fields(any, 1)[0], fields(any, 2)[0]]
      if (type) found.set(new TextDecoder().decode(type).replace(/^.*\//, ''), value ?? new Uint8Array())
    }
  } catch {
    // What can't be read says nothing.
  }
  return found
}

function fields(bytes: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(bytes)
  const found: Uint8Array[] = []
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    if (number === wanted && type === WireType.LengthDelimited) found.push(reader.bytes())
    else reader.skip(type, number)
  }
  return found
}
