// Whom to trust before the first call (protocol, section 3): `broker.json`, read once and kept.
import { isOrigin } from './names.ts'
import { fail } from './errors.ts'
import { logKey, type LogKey } from './log.ts'

export interface Trust {
  origin: string
  logKeyText: string
  logKey: LogKey
  /** Where the API is called: never with a slash at its end. */
  address: string
}

/** What of it is kept. */
export interface TrustRow {
  origin: string
  logKeyText: string
  address: string
}

const malformed = (check: string): never => fail({ kind: 'malformed', what: 'broker.json', check })

export async function readTrust(file: unknown, page: string): Promise<Trust> {
  if (typeof file !== 'object' || file === null) return malformed('json')
  const { origin, log_verifier_key: key, address } = file as Record<string, unknown>
  if (typeof origin !== 'string' || !isOrigin(origin)) return malformed('origin')
  if (typeof key !== 'string') return malformed('log_verifier_key')
  if (address !== undefined && typeof address !== 'string') return malformed('address')
  return trustOf({ origin, logKeyText: key, address: (address ?? page).replace(/\/+$/, '') })
}

export async function trustOf(row: TrustRow): Promise<Trust> {
  const key = (await logKey(row.logKeyText)) ?? malformed('log_verifier_key')
  if (key.name !== row.origin) malformed('log_verifier_key')
  let url: URL
  try {
    url = new URL(row.address)
  } catch {
    return malformed('address')
  }
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) malformed('address')
  return { ...row, logKey: key }
}
