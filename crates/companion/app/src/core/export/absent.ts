// What records rest on and an export has not: each statement is in one of its files, or is named as absent.
import type { Envelope } from '../../gen/countersign/statement/v1/envelope_pb.ts'
import { hex } from '../bytes.ts'
import { digestOf } from '../envelope.ts'
import { List } from './json.ts'

export class Absent {
  /** By hash, the first record that rests on it. */
  private readonly left = new Map<string, bigint>()

  rests(index: bigint, on: Uint8Array): void {
    const id = hex(on)
    if (!this.left.has(id)) this.left.set(id, index)
  }
  async written(...envelopes: readonly (Envelope | undefined)[]): Promise<void> {
    for (const one of envelopes) if (one) this.left.delete(hex(await digestOf(one)))
  }
  list(): List {
    const list = new List()
    const ordered = [...this.left].sort(([a, at], [b, bt]) => (at === bt ? (a < b ? -1 : 1) : at < bt ? -1 : 1))
    for (const [evidence, index] of ordered) list.add({ index: Number(index), evidence })
    return list
  }
}
