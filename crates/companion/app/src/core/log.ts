// The log (protocol, section 12): RFC 9162 hashing and proofs, C2SP notes, checkpoints and proof files.
import { base64, equal, fromBase64, fromUtf8, hex, sha256, utf8, type Bytes } from './bytes.ts'
import { publicKey, verifies, type PublicKey } from './ed25519.ts'
import { isOrigin } from './names.ts'

const LEAF = new Uint8Array([0])
const NODE = new Uint8Array([1])
const ED25519 = new Uint8Array([1])
const MOST_U64 = (1n << 64n) - 1n

/** A path has at most one hash for each level of a tree of 64-bit size. */
export const MOST_PATH = 64

export const leafHash = (record: Uint8Array): Promise<Bytes> => sha256(LEAF, record)
const nodeHash = (left: Uint8Array, right: Uint8Array): Promise<Bytes> => sha256(NODE, left, right)
const emptyRoot = (): Promise<Bytes> => sha256()

const bits = (value: bigint) => (value === 0n ? 0 : value.toString(2).length)
const ones = (value: bigint) => value.toString(2).replaceAll('0', '').length

/** Whether the leaf stands under the root, or which check failed. */
export async function checkInclusion(index: bigint, size: bigint, leaf: Uint8Array, path: readonly Uint8Array[], root: Uint8Array) {
  if (index >= size) return 'index'
  const inner = bits(index ^ (size - 1n))
  if (path.length !== inner + ones(index >> BigInt(inner))) return 'length'
  let [at, last, hash] = [index, size - 1n, leaf]
  for (const sibling of path) {
    // A node at the right edge stays there, and all that is left are left siblings. Levels at which it has none don't
    // count: the length is checked.
    hash = (at & 1n) === 1n || at === last ? await nodeHash(sibling, hash) : await nodeHash(hash, sibling)
    at >>= 1n
    last >>= 1n
  }
  return equal(hash, root) ? undefined : 'root'
}

/** How many hashes the proof has (RFC 9162, 2.1.4.1). */
function proofLength(from: bigint, to: bigint): number {
  let count = 0
  let whole = true
  while (from !== to) {
    const half = 1n << BigInt(bits(to - 1n) - 1)
    if (from <= half) to = half
    else {
      from -= half
      to -= half
      whole = false
    }
    count += 1
  }
  return count + (whole ? 0 : 1)
}

/** Whether one tree continues another, or which check failed. */
export async function checkConsistency(from: bigint, fromRoot: Uint8Array, to: bigint, toRoot: Uint8Array, proof: readonly Uint8Array[]) {
  if (from > to) return 'sizes'
  if (proof.length !== (from === 0n ? 0 : proofLength(from, to))) return 'length'
  let [before, after]: [Uint8Array, Uint8Array] = [toRoot, toRoot]
  if (from === 0n) {
    before = await emptyRoot()
    if (to === 0n) after = before
  } else if (proof.length > 0) {
    let [at, last] = [from - 1n, to - 1n]
    while ((at & 1n) === 1n) {
      at >>= 1n
      last >>= 1n
    }
    // An older tree of a power of two is one node of the newer one: the proof leaves its root out.
    const [start, rest] = (from & (from - 1n)) === 0n ? [fromRoot, proof] : [proof[0]!, proof.slice(1)]
    before = after = start
    for (const sibling of rest) {
      if ((at & 1n) === 1n || at === last) {
        before = await nodeHash(sibling, before)
        after = await nodeHash(sibling, after)
      } else {
        after = await nodeHash(after, sibling)
      }
      at >>= 1n
      last >>= 1n
    }
  }
  if (!equal(before, fromRoot)) return 'old_root'
  return equal(after, toRoot) ? undefined : 'new_root'
}

/** A C2SP verifier key: `name+hex8+base64(01 ‖ key)`. */
export interface LogKey {
  name: string
  id: Bytes
  key: PublicKey
}

export async function logKey(text: string): Promise<LogKey | undefined> {
  const [name = '', id = '', ...rest] = text.split('+')
  const material = fromBase64(rest.join('+'))
  if (!isOrigin(name) || !/^[0-9a-f]{8}$/.test(id) || material?.length !== 33 || material[0] !== 1) return undefined
  const key = await publicKey(material.subarray(1))
  if (!key) return undefined
  const computed = (await sha256(utf8(`${name}\n`), ED25519, key.bytes)).slice(0, 4)
  return hex(computed) === id ? { name, id: computed, key } : undefined
}

/** A checkpoint whose signature verified: only `readCheckpoint` makes one. */
export interface Head {
  readonly size: bigint
  readonly root: Bytes
  /** The note, byte for byte. */
  readonly note: Bytes
}
export type HeadError = 'note' | 'signature' | 'text' | 'origin'

const MOST_SIGNATURES = 64
const MOST_NOTE_BYTES = MOST_SIGNATURES * 7 * 1024 + 64 * 1024
const MOST_NAME = 255

/** C2SP: not empty, no plus sign, no white space. */
const isKeyName = (name: string) => name !== '' && utf8(name).length <= MOST_NAME && !/[+\s\p{White_Space}\p{Cc}]/u.test(name)

function decimal(text: string): bigint | undefined {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) return undefined
  const value = BigInt(text)
  return value <= MOST_U64 ? value : undefined
}

export async function readCheckpoint(note: Uint8Array, key: LogKey): Promise<Head | HeadError> {
  const parsed = parseNote(note)
  if (!parsed) return 'note'
  let signed = false
  for (const { name, id, bytes } of parsed.signatures) {
    if (name !== key.name || !equal(id, key.id)) continue
    if (!(await verifies(key.key, utf8(parsed.text), bytes))) return 'signature'
    signed = true
  }
  if (!signed) return 'signature'
  const lines = parsed.text.split('\n')
  const [origin = '', sizeText = '', rootText = ''] = lines
  const size = decimal(sizeText)
  const root = fromBase64(rootText)
  if (lines.length !== 4 || lines[3] !== '' || !isKeyName(origin) || size === undefined || root?.length !== 32) return 'text'
  if (size === 0n && !equal(root, await emptyRoot())) return 'text'
  return origin === key.name ? { size, root, note: new Uint8Array(note) } : 'origin'
}

function parseNote(note: Uint8Array) {
  if (note.length > MOST_NOTE_BYTES) return undefined
  let whole: string
  try {
    whole = fromUtf8(note)
  } catch {
    return undefined
  }
  const end = whole.lastIndexOf('\n\n')
  if (end < 0) return undefined
  const text = whole.slice(0, end + 1)
  const lines = whole.slice(end + 2)
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text) || !lines.endsWith('\n')) return undefined
  const signatures = []
  for (const line of lines.slice(0, -1).split('\n')) {
    const [dash, name = '', encoded = '', ...rest] = line.split(' ')
    const bytes = fromBase64(encoded)
    if (dash !== '\u2014' || !isKeyName(name) || rest.length > 0 || !bytes || bytes.length < 5) return undefined
    signatures.push({ name, id: bytes.slice(0, 4), bytes: bytes.slice(4) })
  }
  return signatures.length <= MOST_SIGNATURES ? { text, signatures } : undefined
}

const HEADER = 'c2sp.org/tlog-proof@v1'

export function proofFile(index: bigint, path: readonly Uint8Array[], note: Uint8Array, extra?: Uint8Array): string {
  const lines = [HEADER, ...(extra ? [`extra ${base64(extra)}`] : []), `index ${index}`, ...path.map(base64)]
  return `${lines.join('\n')}\n\n${fromUtf8(note)}`
}

/** Checks a proof file: where the record stands, or which check failed. */
export async function checkProofFile(file: Uint8Array, record: Uint8Array, key: LogKey): Promise<{ index: bigint; head: Head } | 'file' | 'checkpoint' | 'inclusion'> {
  let text: string
  try {
    text = fromUtf8(file)
  } catch {
    return 'file'
  }
  const end = text.indexOf('\n\n')
  if (end < 0) return 'file'
  const [header, ...lines] = text.slice(0, end).split('\n')
  if (header !== HEADER) return 'file'
  if (lines[0]?.startsWith('extra ')) {
    const extra = fromBase64(lines.shift()!.slice(6))
    if (!extra || extra.length > 65_535) return 'file'
  }
  const line = lines.shift() ?? ''
  const index = line.startsWith('index ') ? decimal(line.slice(6)) : undefined
  const path = lines.map((hash) => fromBase64(hash))
  if (index === undefined || path.length > MOST_PATH || !path.every((hash) => hash?.length === 32)) return 'file'
  const head = await readCheckpoint(utf8(text.slice(end + 2)), key)
  if (typeof head === 'string') return 'checkpoint'
  const wrong = await checkInclusion(index, head.size, await leafHash(record), path as Bytes[], head.root)
  return wrong === undefined ? { index, head } : 'inclusion'
}

const NUL = new Uint8Array(1)
/** H(label ‖ 00 ‖ salt ‖ bytes). */
export const commitment = (what: 'subject' | 'fields' | 'evidence', salt: Uint8Array, ...bytes: readonly Uint8Array[]): Promise<Bytes> =>
  sha256(utf8(`countersign/v1 ${what}`), NUL, salt, ...bytes)

