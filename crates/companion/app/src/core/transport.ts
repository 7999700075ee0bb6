// Calls to the broker by gRPC-Web, each with a token of the caller's own; errors by whose fault they are.
import type { DescService } from '@bufbuild/protobuf'
import { Code, ConnectError, createClient, type Client, type Interceptor } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'

import { AuditService } from '../gen/countersign/v1/audit_service_pb.ts'
import { CatalogueService } from '../gen/countersign/v1/catalogue_service_pb.ts'
import { CustomerService } from '../gen/countersign/v1/customer_service_pb.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import { LinkService } from '../gen/countersign/v1/link_service_pb.ts'
import { PartnerService } from '../gen/countersign/v1/partner_service_pb.ts'
import { TransferService } from '../gen/countersign/v1/transfer_service_pb.ts'
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts'
import type { SigningKey } from './ed25519.ts'
import { Failed } from './errors.ts'
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

/** Codes that a network can make: without the API's own details they say nothing about the effect. */
const NETWORK: readonly Code[] = [Code.Unavailable, Code.Canceled, Code.DeadlineExceeded, Code.Unknown, Code.Internal]

export interface Calls {
  audit: Client<typeof AuditService>
  catalogue: Client<typeof CatalogueService>
  customers: Client<typeof CustomerService>
  events: Client<typeof EventService>
  grants: Client<typeof GrantService>
  links: Client<typeof LinkService>
  partners: Client<typeof PartnerService>
  transfers: Client<typeof TransferService>
}

/** `heard` is told of each answer whether the broker was there. */
export function connect(trust: Trust, caller: () => SigningKey | undefined, heard: (there: boolean) => void): Calls {
  let token: { text: string; until: number; key: string } | undefined
  const authorize: Interceptor = (next) => async (request) => {
    const key = caller()
    if (key) {
      const now = Date.now()
      if (!token || token.key !== key.id || token.until - now < TOKEN_SPARE_MS || token.until - now > TOKEN_LIFE_MS) {
        token = { text: await issueToken(key, `customers/${key.id}`, trust.origin, now), until: now + TOKEN_LIFE_MS, key: key.id }
      }
      request.header.set('authorization', `Bearer ${token.text}`)
    }
    try {
      const answer = await next(request)
      heard(true)
      return answer
    } catch (thrown) {
      const failed = toFailed(thrown)
      heard(failed.error.kind !== 'unreachable')
      // A token that was refused is not shown again.
      if (failed.error.kind === 'clock' || (failed.error.kind === 'refused' && failed.error.reason === 'TOKEN_INVALID')) token = undefined
      throw failed
    }
  }
  const transport = createGrpcWebTransport({
    baseUrl: trust.address,
    interceptors: [authorize],
    defaultTimeoutMs: DEADLINE_MS,
    // Neither cookies nor the page's address go along.
    fetch: (input, init) => fetch(input, { ...init, credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store', redirect: 'error' }),
  })
  const client = <S extends DescService>(service: S) => createClient(service, transport)
  return {
    audit: client(AuditService), catalogue: client(CatalogueService), customers: client(CustomerService), events: client(EventService),
    grants: client(GrantService), links: client(LinkService), partners: client(PartnerService), transfers: client(TransferService),
  }
}

export function toFailed(thrown: unknown): Failed {
  if (thrown instanceof Failed) return thrown
  const error = ConnectError.from(thrown)
  // What an interceptor threw comes wrapped.
  if (error.cause instanceof Failed) return error.cause
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === DOMAIN)
  if (!info && NETWORK.includes(error.code)) {
    return new Failed({ kind: 'unreachable', offline: globalThis.navigator?.onLine === false })
  }
  const metadata = { ...info?.metadata }
  const reason = info?.reason ?? ''
  const check = metadata['check'] ?? ''
  const clock = (reason === 'TOKEN_INVALID' && ['exp', 'iat'].includes(check)) || (reason === 'STATEMENT_INVALID' && ['time', 'time_ms'].includes(check))
  if (clock) return new Failed({ kind: 'clock' })
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay
  const retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6
  return new Failed({ kind: 'refused', reason, code: error.code, metadata, ...(retryAfterMs !== undefined && { retryAfterMs }) })
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
