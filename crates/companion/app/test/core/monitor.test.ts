// The log's two faces, heads that are kept back, and what is kept between visits.
import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it } from 'vitest'

import { base64, concat, sha256, utf8, type Bytes } from '../../src/core/bytes.ts'
import { signingKey } from '../../src/core/ed25519.ts'
import { Failed } from '../../src/core/errors.ts'
import type { CoreError } from '../../src/core/index.ts'
import { leafHash, logKey, readCheckpoint, type LogKey } from '../../src/core/log.ts'
import { Monitor } from '../../src/core/monitor.ts'
import { Store } from '../../src/core/store.ts'
import type { Calls } from '../../src/core/transport.ts'

const NAME = 'broker.test/log'
const node = (left: Uint8Array, right: Uint8Array) => sha256(new Uint8Array([1]), left, right)

/** A log of up to two leaves, which can sign whatever it likes. */
class Log {
  readonly leaves: Bytes[] = []
  key!: LogKey
  private sign!: (text: string) => Promise<Bytes>

  static async make(): Promise<Log> {
    const log = new Log()
    const secret = await signingKey(new Uint8Array(32).fill(1))
    const material = concat(new Uint8Array([1]), secret.bytes)
    const id = (await sha256(utf8(`${NAME}\n`), material)).slice(0, 4)
    const text = `${NAME}+${Array.from(id, (byte) => byte.toString(16).padStart(2, '0')).join('')}+${base64(material)}`
    log.key = (await logKey(text)) ?? expect.fail('no key')
    log.sign = async (note) => concat(id, await secret.sign(utf8(note)))
    for (const leaf of ['a', 'b']) log.leaves.push(await leafHash(utf8(leaf)))
    return log
  }
  async root(size: 1 | 2, other = false): Promise<Bytes> {
    const [a, b] = other ? [this.leaves[1]!, this.leaves[0]!] : [this.leaves[0]!, this.leaves[1]!]
    return size === 1 ? a : node(a, b)
  }
  async head(size: 1 | 2, other = false): Promise<Bytes> {
    const text = `${NAME}\n${size}\n${base64(await this.root(size, other))}\n`
    return utf8(`${text}\n\u2014 ${NAME} ${base64(await this.sign(text))}\n`)
  }
}

let log: Log
let store: Store
let halted: CoreError | undefined
let now = 1_000_000

/** A broker that answers with this proof from 1 to 2, or throws. */
function broker(proof: () => Uint8Array[]): Calls {
  return (() => ({ getConsistencyProof: () => Promise.resolve().then(() => ({ hashes: proof() })) })) as unknown as Calls
}
const monitor = async (calls: Calls) => {
  const made = new Monitor(log.key, calls, store, (error) => (halted = error), () => now)
  await made.load()
  return made
}
const kindOf = (work: Promise<unknown>) => work.then(() => 'ok', (thrown: Failed) => thrown.error.kind)

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  log = await Log.make()
  store = await Store.open()
  halted = undefined
})

describe('the monitor', () => {
  const honest = () => broker(() => [log.leaves[1]!])

  it('keeps the largest head that it has proven, over visits', async () => {
    const first = await monitor(honest())
    await first.take(await log.head(1), 'broker', 'receipt')
    await first.take(await log.head(2), 'broker', 'receipt')
    await first.take(await log.head(1), 'broker', 'receipt')
    expect((await (await monitor(honest())).proven())?.size).toBe(2n)
  })

  it('halts for good at two roots of one size', async () => {
    const one = await monitor(honest())
    await one.take(await log.head(2), 'broker', 'receipt')
    expect(await kindOf(one.take(await log.head(2, true), 'partners/hopp', 'offer'))).toBe('forked')
    expect(halted?.kind).toBe('forked')
    expect(() => one.check()).toThrow('forked')
    const later = await monitor(honest())
    expect(() => later.check()).toThrow('forked')
  })

  it('halts at a history that the proof does not continue', async () => {
    const one = await monitor(honest())
    await one.take(await log.head(1), 'broker', 'receipt')
    expect(await kindOf(one.take(await log.head(2, true), 'broker', 'receipt'))).toBe('forked')
    expect(halted).toMatchObject({ kind: 'forked' })
  })

  it('takes a head whose proof does not come, and calls that an error after a minute', async () => {
    const one = await monitor(broker(() => { throw new Failed({ kind: 'unreachable', offline: false }) }))
    await one.take(await log.head(1), 'broker', 'receipt')
    expect(await kindOf(one.take(await log.head(2), 'broker', 'receipt'))).toBe('ok')
    one.check()
    expect((await one.proven())?.size).toBe(1n)
    now += 60_001
    expect(() => one.check()).toThrow('consistency')
  })

  it('takes no head that the log has not signed', async () => {
    const one = await monitor(honest())
    const note = await log.head(1)
    note[note.length - 10]! ^= 1
    expect(await kindOf(one.take(note, 'partners/hopp', 'offer'))).toBe('misbehaved')
    expect(typeof (await readCheckpoint(note, log.key))).toBe('string')
  })
})
