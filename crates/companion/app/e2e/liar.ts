// A broker that lies: what it answers is bent on its way to the app, which gets it as if it came so.
import { create, fromBinary, toBinary, type DescMethod, type DescService, type MessageShape } from '@bufbuild/protobuf'

const PREFIX = 5
const TRAILERS = 0x80

type Bend<T> = (answer: T) => T | void

/** Bends the answers of some methods, until `honest`. */
export class Liar {
  private readonly real = globalThis.fetch
  private readonly bends = new Map<string, { method: DescMethod; bend: Bend<never> }>()
  private readonly refusals = new Set<string>()
  readonly asked: string[] = []

  constructor() {
    globalThis.fetch = async (input, init) => {
      const path = new URL(String(input instanceof Request ? input.url : input)).pathname.slice(1)
      this.asked.push(path)
      const answer = await this.real(input, init)
      const found = this.bends.get(path)
      if (this.refusals.has(path)) {
        await answer.arrayBuffer()
        // WRONG_STATE, as a broker words it: code 9, details in `google.rpc.Status`.
        return new Response(null, { headers: { 'content-type': 'application/grpc-web+proto', 'grpc-status': '9', 'grpc-status-details-bin': REFUSAL } })
      }
      if (!found || !answer.body) return answer
      const bytes = new Uint8Array(await answer.arrayBuffer())
      const out: Uint8Array<ArrayBuffer>[] = []
      for (let at = 0; at + PREFIX <= bytes.length; ) {
        const length = new DataView(bytes.buffer).getUint32(at + 1)
        const frame = bytes.slice(at + PREFIX, at + PREFIX + length)
        const bent = bytes[at] === TRAILERS ? frame : this.apply(found, frame)
        const prefix = bytes.slice(at, at + PREFIX)
        new DataView(prefix.buffer).setUint32(1, bent.length)
        out.push(prefix, bent)
        at += PREFIX + length
      }
      return new Response(new Blob(out), { status: answer.status, headers: answer.headers })
    }
  }

  private apply({ method, bend }: { method: DescMethod; bend: Bend<never> }, frame: Uint8Array): Uint8Array<ArrayBuffer> {
    const message = fromBinary(method.output, frame)
    const bent = bend(message as never) ?? message
    return new Uint8Array(toBinary(method.output, create(method.output, bent)))
  }

  /** Bends what a method answers. */
  bend<S extends DescService, K extends keyof S['method'] & string>(service: S, name: K, bend: Bend<MessageShape<S['method'][K]['output']>>): this {
    const method = service.method[name] as DescMethod
    this.bends.set(`${service.typeName}/${method.name}`, { method, bend: bend as unknown as Bend<never> })
    return this
  }

  /** Does what a method asks, and says that it did not. */
  deny<S extends DescService>(service: S, name: keyof S['method'] & string): this {
    this.refusals.add(`${service.typeName}/${(service.method[name] as DescMethod).name}`)
    return this
  }

  honest(): void {
    this.bends.clear()
    this.refusals.clear()
  }
}

const ascii = (text: string) => new TextEncoder().encode(text)
const field = (number: number, bytes: Uint8Array) => Uint8Array.from([(number << 3) | 2, bytes.length, ...bytes])
/** `Status{code: 9, details: [Any{ErrorInfo{reason: "WRONG_STATE", domain: "countersign"}}]}`. */
const REFUSAL = btoa(
  String.fromCharCode(
    8, 9,
    ...field(3, Uint8Array.from([
      ...field(1, ascii('type.googleapis.com/google.rpc.ErrorInfo')),
      ...field(2, Uint8Array.from([...field(1, ascii('WRONG_STATE')), ...field(2, ascii('countersign'))])),
    ])),
  ),
)
