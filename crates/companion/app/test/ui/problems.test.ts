import { expect, test } from 'vitest'
import type { CoreError } from '../../src/core/errors.ts'
import { LANGUAGES, load } from '../../src/ui/messages'
import { told } from '../../src/ui/problems'

const lie = (what: string, who: 'broker' | 'partners/hopp' = 'broker'): CoreError => ({ kind: 'misbehaved', who, what, check: 'signature' })
const refused = (reason: string): CoreError => ({ kind: 'refused', reason, code: 9, metadata: {} })

/** One of each kind that the core can throw. */
const ERRORS: readonly CoreError[] = [
  ...['WRONG_STATE', 'LINK_MISSING', 'INVITATION_USED', 'CUSTOMER_STOLEN', 'SOURCE_UNAVAILABLE', 'SOURCE_REFUSED', 'RESOURCE_UNKNOWN', 'QUOTA_EXCEEDED', 'OVERLOADED', 'TOKEN_INVALID', 'INTERNAL', 'constructor'].map(refused),
  ...['checkpoint', 'receipt', 'event', 'request', 'offer', 'catalogue', 'partner_key', 'grant', 'grants', 'link', 'invitation', 'customer', 'approval', 'preview', 'acknowledgement', 'never-heard-of', 'toString'].map((what) => lie(what)),
  { kind: 'unreachable', offline: true },
  { kind: 'unreachable', offline: false },
  { kind: 'forked', ours: 'a', theirs: 'b' },
  ...(['blocked', 'full', 'cleared', 'version', 'damaged'] as const).map((problem): CoreError => ({ kind: 'storage', problem })),
  { kind: 'clock' },
  { kind: 'cancelled' },
  { kind: 'noPrf' },
  { kind: 'notMine' },
  { kind: 'unsupported', missing: 'ed25519' },
  { kind: 'noKeys' },
  ...(['invitation', 'broker.json', 'choice', 'name'] as const).map((what): CoreError => ({ kind: 'malformed', what, check: 'form' })),
  { kind: 'invitationExpired' },
  ...(['stopped', 'unknown', 'notLinked'] as const).map((problem): CoreError => ({ kind: 'notNow', name: 'grants/a', problem })),
  { kind: 'otherBroker', known: 'a', found: 'b' },
  { kind: 'over', how: 'closed' },
  { kind: 'over', how: 'unproven' },
  { kind: 'over', how: 'stolen' },
]

test('every error says what happened, whose fault it is, and what to do, in every language', async () => {
  for (const { tag } of LANGUAGES) {
    const say = await load(tag)
    for (const error of ERRORS) {
      const { title, what, todo, fault, code } = told(error, say, () => 'Hopp Rides')
      for (const text of [title, what, todo, say.problems.faults[fault], code]) expect(text, `${tag} ${JSON.stringify(error)}`).toMatch(/\S/)
    }
  }
})

test('each lie has a screen of its own, and it is laid to whom it belongs', async () => {
  const say = await load('en')
  const titles = ['checkpoint', 'receipt', 'event', 'request', 'offer', 'catalogue', 'partner_key', 'grant', 'grants', 'link', 'customer', 'approval', 'preview', 'acknowledgement'].map((what) => told(lie(what), say, String).title)
  expect(new Set(titles).size).toBe(titles.length)
  expect(told(lie('offer'), say, String).fault).toBe('broker')
  const byBrand = told(lie('offer', 'partners/hopp'), say, () => 'Hopp Rides')
  expect(byBrand.fault).toBe('brand')
  expect(byBrand.todo).toContain('Hopp Rides')
})

test('a defect is called ours, and shows no value', async () => {
  const told_ = told({ kind: 'unexpected', name: 'TypeError' }, await load('en'), String)
  expect(told_.fault).toBe('app')
  expect(told_.code).toBe('TypeError')
})
