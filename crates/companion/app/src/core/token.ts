// Call tokens (protocol, section 4): a JWT that the caller signs itself.
import { base64url, fromBase64url, fromUtf8, utf8 } from './bytes.ts'
import { verifies, type PublicKey, type SigningKey } from './ed25519.ts'
import { isKeyId, isPrincipal } from './names.ts'

const LIFE_S = 300
const AHEAD_MS = 30_000
const MOST_CHARS = 1024

export async function issueToken(key: SigningKey, issuer: string, origin: string, nowMs: number): Promise<string> {
  const iat = Math.floor(nowMs / 1000)
  const header = JSON.stringify({ typ: 'countersign+jwt', alg: 'EdDSA', kid: key.id })
  const claims = JSON.stringify({ iss: issuer, aud: `brokers/${origin}`, iat, exp: iat + LIFE_S })
  const signed = `${base64url(utf8(header))}.${base64url(utf8(claims))}`
  return `${signed}.${base64url(await key.sign(utf8(signed)))}`
}

export type TokenError = 'malformed' | 'signature' | 'audience' | 'too_long' | 'future' | 'expired'

/** What a checker makes of a token; the app calls it of its own alone, to tell a wrong clock. */
export async function checkToken(token: string, key: PublicKey, audience: string, nowMs: number): Promise<TokenError | { issuer: string; expires: number }> {
  const parts = token.split('.')
  const [head, body, signature] = parts.map((part) => fromBase64url(part))
  if (token.length > MOST_CHARS || parts.length !== 3 || !head || !body) return 'malformed'
  const header = json(head)
  const claims = json(body)
  if (header?.['typ'] !== 'countersign+jwt' || header['alg'] !== 'EdDSA') return 'malformed'
  const { kid } = header
  if (typeof kid !== 'string' || !isKeyId(kid) || !claims) return 'malformed'
  const { iss, aud, iat, exp } = claims
  const isTime = (time: unknown): time is number => typeof time === 'number' && Number.isInteger(time) && time >= 0
  if (typeof iss !== 'string' || !isPrincipal(iss) || typeof aud !== 'string' || !isTime(iat) || !isTime(exp)) return 'malformed'
  // Milliseconds that do not fit 64 bits are no time.
  if (Math.max(iat, exp) * 1000 >= 2 ** 64) return 'malformed'
  const signed = utf8(token.slice(0, token.lastIndexOf('.')))
  if (kid !== key.id || !signature || !(await verifies(key, signed, signature))) return 'signature'
  if (aud !== audience) return 'audience'
  if (exp < iat || exp - iat > LIFE_S) return 'too_long'
  if (iat * 1000 > nowMs + AHEAD_MS) return 'future'
  return exp * 1000 <= nowMs ? 'expired' : { issuer: iss, expires: exp * 1000 }
}

function json(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
