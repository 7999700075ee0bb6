// Calls to the broker by gRPC-Web, each with a token of the caller's own; errors by whose fault they are.
import { fromBinary, type DescService } from '@bufbuild/protobuf'

import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts'
import type { SigningKey } from './ed25519.ts'
import { Failed } from './errors.ts'
import { makeClient, Status, type Client } from './grpc.ts'
import { issueToken } from './token.ts'
import type { Trust } from './trust.ts'

const DOMAIN = 'countersign'
/** As the broker's own deadline of a call. */
const DEADLINE_MS = 30_000
/** A token is made anew while it is still good for this long: longer than a call lasts. */
const TOKEN_SPARE_MS = 60_000
const TOKEN_LIFE_MS = 300_000
const TRIES = 3
const PAUSE_MS = 400
const MOST_LISTED = 20_000
export const PAGE_SIZE = 200

/** Codes that a network can make (CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE): without the API's own details they say nothing about the effect. */
const NETWORK: readonly number[] = [1, 2, 4, 13, 14]

/** A service's calls. Which are needed is for who calls them to import, so that the first screen waits for few. */
export type Calls = <S extends DescService>(service: S) => Client<S>

/** `heard` is told of each answer whether the broker was there. */
export function connect(trust: Trust, caller: () => SigningKey | undefined, heard: (there: boolean) => void): Calls {
  let token: { text: string; until: number; key: string } | undefined
  const endpoint = {
    address: trust.address,
    deadlineMs: DEADLINE_MS,
    headers: async (): Promise<Record<string, string>> => {
      const key = caller()
      if (!key) return {}
      const now = Date.now()
      if (!token || token.key !== key.id || token.until - now < TOKEN_SPARE_MS || token.until - now > TOKEN_LIFE_MS) {
        token = { text: await issueToken(key, `customers/${key.id}`, trust.origin, now), until: now + TOKEN_LIFE_MS, key: key.id }
      }
      return { authorization: `Bearer ${token.text}` }
    },
    ended: (thrown: unknown) => {
      if (thrown === undefined) {
        heard(true)
        return undefined
      }
      const failed = toFailed(thrown)
      heard(failed.error.kind !== 'unreachable')
      // A token that was refused is not shown again.
      if (failed.error.kind === 'clock' || (failed.error.kind === 'refused' && failed.error.reason === 'TOKEN_INVALID')) token = undefined
      return failed
    },
  }
  const made = new Map<string, unknown>()
  return <S extends DescService>(service: S) => {
    const client = (made.get(service.typeName) as Client<S> | undefined) ?? makeClient(service, endpoint)
    made.set(service.typeName, client)
    return client
  }
}

export function toFailed(thrown: unknown): Failed {
  if (thrown instanceof Failed) return thrown
  // Anything else is a defect of the app, and goes on as it is.
  if (!(thrown instanceof Status)) throw thrown
  const { code, details } = thrown
  const raw = details.get(ErrorInfoSchema.typeName)
  const read = raw && fromBinary(ErrorInfoSchema, raw)
  const info = read?.domain === DOMAIN ? read : undefined
  if (!info && NETWORK.includes(code)) return new Failed({ kind: 'unreachable', offline: globalThis.navigator?.onLine === false })
  const metadata = { ...info?.metadata }
  const reason = info?.reason ?? ''
  const check = metadata['check'] ?? ''
  const clock = (reason === 'TOKEN_INVALID' && ['exp', 'iat'].includes(check)) || (reason === 'STATEMENT_INVALID' && ['time', 'time_ms'].includes(check))
  if (clock) return new Failed({ kind: 'clock' })
  const retry = details.get(RetryInfoSchema.typeName)
  const delay = retry && fromBinary(RetryInfoSchema, retry).retryDelay
  const retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6
  return new Failed({ kind: 'refused', reason, code, metadata, ...(retryAfterMs !== undefined && { retryAfterMs }) })
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The same bytes again while nobody answers: they bring the first answer. */
export async function again<T>(call: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await call()
    } catch (thrown) {
      const failed = toFailed(thrown)
      const offline = failed.error.kind === 'unreachable' && failed.error.offline
      if (!failed.transient || offline || left <= 1) throw failed
      await pause(PAUSE_MS * 2 ** (TRIES - left))
    }
  }
}

/** Pages until the empty token, or a failure where a broker never ends. */
export async function allPages<T>(page: (pageToken: string) => Promise<{ items: readonly T[]; nextPageToken: string }>): Promise<T[]> {
  const all: T[] = []
  let token = ''
  // An empty page counts as an entry, so that a list of nothing ends too.
  for (let empty = 0; ; ) {
    const { items, nextPageToken } = await page(token)
    all.push(...items)
    if (items.length === 0) empty += 1
    if (nextPageToken === '') return all
    if (all.length + empty > MOST_LISTED) throw new Failed({ kind: 'misbehaved', who: 'broker', what: 'list', check: 'length' })
    token = nextPageToken
  }
}
