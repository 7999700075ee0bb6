import type { Problem } from './context'
import type { Messages } from './messages'

/** Whose fault something is. */
export type Fault = 'you' | 'device' | 'network' | 'brand' | 'broker' | 'app' | 'nobody'

export interface Told {
  readonly title: string
  readonly what: string
  readonly todo: string
  readonly fault: Fault
  /** Somebody's word does not verify. */
  readonly lie: boolean
  /** For whoever helps: words of the protocol, and never a value. */
  readonly code: string
}

/** Which of the lies the protocol's word stands for. */
type Lie = Exclude<keyof Messages['problems']['lies'], 'todoBroker' | 'todoBrand'>

const LIES: Readonly<Record<string, Lie>> = {
  checkpoint: 'log',
  note: 'log',
  receipt: 'proof',
  proof: 'proof',
  record: 'record',
  event: 'record',
  activity: 'record',
  timeline: 'record',
  request: 'request',
  'grant-request': 'request',
  offer: 'offer',
  catalogue: 'catalogue',
  partner_key: 'key',
  'partner-key': 'key',
  certificate: 'key',
  grant: 'grant',
  terms: 'grant',
  'grant-terms': 'grant',
  revision: 'grant',
  grants: 'list',
  list: 'list',
  link: 'link',
  acceptance: 'link',
  confirmation: 'link',
  invitation: 'invitation',
  customer: 'keys',
  'customer-change': 'keys',
  wrapped: 'keys',
  wrapped_copy: 'keys',
  customer_changes: 'keys',
  copy: 'keys',
  approval: 'answer',
  change: 'answer',
  changes: 'answer',
  narrowing: 'answer',
  answer: 'answer',
  preview: 'values',
  preview_provision: 'values',
  sealed_fields: 'values',
  provision: 'values',
  'preview-provision': 'values',
  acknowledgement: 'word',
  partner_change: 'word',
  'partner-change': 'word',
  'erasure-attestation': 'word',
  attestation: 'word',
}

/** The broker's reasons that a person can do something about, and whose fault each is. */
const REFUSALS: Readonly<Record<string, readonly [keyof Messages['problems']['kinds'], Fault]>> = {
  WRONG_STATE: ['wrongState', 'nobody'],
  LINK_MISSING: ['linkMissing', 'you'],
  INVITATION_USED: ['invitationUsed', 'brand'],
  INVITATION_EXPIRED: ['invitationExpired', 'nobody'],
  CUSTOMER_STOLEN: ['stolen', 'you'],
  SOURCE_UNAVAILABLE: ['sourceUnavailable', 'brand'],
  SOURCE_REFUSED: ['sourceRefused', 'brand'],
  SOURCE_MISBEHAVED: ['sourceRefused', 'brand'],
  RESOURCE_UNKNOWN: ['unknown', 'nobody'],
  GRANT_UNKNOWN: ['unknown', 'nobody'],
  QUOTA_EXCEEDED: ['tooMuch', 'nobody'],
  OVERLOADED: ['busy', 'broker'],
  LOG_UNAVAILABLE: ['busy', 'broker'],
  DEADLINE_EXCEEDED: ['busy', 'broker'],
}

/** What stands under a word from outside, which may be any: never what every object has. */
const own = <T>(of: Readonly<Record<string, T>>, key: string): T | undefined => (Object.hasOwn(of, key) ? of[key] : undefined)

/** A problem in words: what happened, whose fault it is, what to do. `brand` names a partner. */
export function told(problem: Problem, say: Messages, brand: (partner: string) => string): Told {
  const { kinds, lies } = say.problems
  const of = (key: keyof typeof kinds, fault: Fault, code: string): Told => ({ ...kinds[key], fault, lie: false, code })
  switch (problem.kind) {
    case 'refused': {
      const stranger = problem.reason === 'TOKEN_INVALID' && problem.metadata['check'] === 'principal'
      const [key, fault] = own(REFUSALS, problem.reason) ?? (stranger ? (['stranger', 'nobody'] as const) : problem.reason === 'TOKEN_INVALID' ? (['clock', 'device'] as const) : (['refused', 'broker'] as const))
      return of(key, fault, problem.reason)
    }
    case 'misbehaved': {
      const lie = lies[own(LIES, problem.what) ?? 'other']
      const code = `${problem.who} ${problem.what} ${problem.check}`
      const partner = problem.who.startsWith('partners/')
      return { ...lie, todo: partner ? lies.todoBrand(brand(problem.who)) : lies.todoBroker, fault: partner ? 'brand' : 'broker', lie: true, code }
    }
    case 'forked':
      return { ...kinds.forked, fault: 'broker', lie: true, code: 'forked' }
    case 'otherBroker':
      return { ...kinds.otherBroker, fault: 'broker', lie: true, code: `otherBroker ${problem.known} ${problem.found}` }
    case 'unreachable':
      return problem.offline ? of('offline', 'network', 'offline') : of('unreachable', 'broker', 'unreachable')
    case 'storage':
      return of(problem.problem === 'cleared' ? 'storageCleared' : problem.problem === 'version' ? 'storageVersion' : 'storageBlocked', 'device', `storage ${problem.problem}`)
    case 'clock':
      return of('clock', 'device', 'clock')
    case 'cancelled':
      return of('cancelled', 'nobody', 'cancelled')
    case 'noPrf':
      return of('noPrf', 'device', 'noPrf')
    case 'notMine':
      return of('notMine', 'you', 'notMine')
    case 'unsupported':
      return of('unsupported', 'device', `unsupported ${problem.missing}`)
    case 'noKeys':
      return of('noKeys', 'you', 'noKeys')
    case 'malformed':
      return problem.what === 'invitation'
        ? of('invitationMalformed', 'brand', `malformed ${problem.check}`)
        : problem.what === 'name'
          ? of('unknown', 'nobody', 'malformed name')
          : problem.what === 'broker.json'
            ? of('notSetUp', 'broker', `malformed broker.json ${problem.check}`)
            : of('unexpected', 'app', `malformed ${problem.what} ${problem.check}`)
    case 'invitationExpired':
      return of('invitationExpired', 'nobody', 'invitationExpired')
    case 'notNow':
      return problem.problem === 'notLinked' ? of('linkMissing', 'you', 'notLinked') : problem.problem === 'unknown' ? of('unknown', 'nobody', 'unknown') : of('wrongState', 'nobody', `notNow ${problem.problem}`)
    case 'over':
      return of(problem.how === 'unproven' ? 'closedUnproven' : problem.how, problem.how === 'unproven' ? 'broker' : 'you', `over ${problem.how}`)
    case 'unexpected':
      return of('unexpected', 'app', problem.name)
  }
}
