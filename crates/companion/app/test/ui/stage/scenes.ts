import type { CoreError } from '../../../src/core/errors.ts'
import { GRANT, REQUEST, type Scene } from '../../fake-core.ts'

/** One thing to look at: where, on which day, and what is pressed first. */
export interface Shown {
  at: string
  scene?: Scene
  /** The app does not open at all. */
  opens?: CoreError
  /** What is pressed, one after the other: selectors. */
  press?: readonly string[]
}

const request = `#/requests/${REQUEST.split('/')[1]}`
const grant = `#/grants/${GRANT(1).split('/')[1]}`
const INVITED = '#countersign-invitation=abc'
const lie = (what: string, who: 'broker' | 'partners/hopp' = 'broker'): CoreError => ({ kind: 'misbehaved', who, what, check: 'signature' })

/** Every screen, and every bad day. */
export const SCENES: Readonly<Record<string, Shown>> = {
  'first-use': { at: '', scene: { keys: 'none' } },
  'first-use-invited': { at: INVITED, scene: { keys: 'none' } },
  'first-use-no-prf': { at: '', scene: { keys: 'none', fails: { firstUse: { kind: 'noPrf' } } }, press: ['.button.accent'] },
  'first-use-cancelled': { at: '', scene: { keys: 'none', fails: { firstUse: { kind: 'cancelled' } } }, press: ['.button.accent'] },
  'home-empty': { at: '', scene: { grants: 'none', requests: 'none' } },
  home: { at: '' },
  'home-paused': { at: '', scene: { grants: 'paused', requests: 'none' } },
  'home-offline': { at: '', scene: { offline: true, queued: 1, grants: 'queued' } },
  'home-late': { at: '', scene: { grants: 'late', requests: 'none' } },
  request: { at: request },
  'request-english': { at: request, scene: { requests: 'english' } },
  'request-unlinked': { at: request, scene: { requests: 'unlinked' } },
  'request-change': { at: request, press: ['.foot .button.plain'] },
  'request-lapsed': { at: request, scene: { requests: 'lapsed' } },
  'request-cancelled-passkey': { at: request, scene: { fails: { approve: { kind: 'cancelled' } } }, press: ['.foot .button.accent'] },
  'request-raced': { at: request, scene: { fails: { approve: { kind: 'refused', reason: 'WRONG_STATE', code: 9, metadata: {} } } }, press: ['.foot .button.accent'] },
  data: { at: `${request}/data`, press: ['section.card .button', 'section.card .button'] },
  receipt: { at: `${request}/receipt` },
  grant: { at: grant },
  'grant-narrow': { at: grant, press: ['.button.wide'] },
  'grant-suspended': { at: grant, scene: { grants: 'suspended' } },
  timeline: { at: '#/activity' },
  'timeline-empty': { at: '#/activity', scene: { grants: 'none' } },
  'timeline-long': { at: '#/activity', scene: { transfers: 10_000 } },
  'timeline-wrong': { at: '#/activity', press: ['.entry .button.plain'] },
  proof: { at: '#/activity', press: ['.entry .badge.good'] },
  'proof-first': { at: '#/activity', scene: { proof: 'first' }, press: ['.entry .badge.good'] },
  'proof-lie': { at: '#/activity', scene: { proof: 'lie' }, press: ['.entry .badge.good'] },
  stop: { at: `${grant}/stop` },
  'stop-recorded': { at: `${grant}/stop`, scene: { grants: 'stopping' } },
  'stop-late': { at: `${grant}/stop`, scene: { grants: 'late' } },
  'stop-deleted': { at: `${grant}/stop`, scene: { grants: 'deleted' } },
  'stop-queued': { at: `${grant}/stop`, scene: { grants: 'queued', offline: true, queued: 1 } },
  'stop-refused': { at: `${grant}/stop`, scene: { grants: 'refused' } },
  'stop-all': { at: '#/stop' },
  'stop-all-late': { at: '#/stop', scene: { grants: 'late' } },
  settings: { at: '#/settings' },
  'settings-device-keys': { at: '#/settings', scene: { keys: 'device' } },
  'settings-close': { at: '#/settings', press: ['.rows li:nth-child(3) > button'] },
  link: { at: INVITED },
  'link-paste': { at: '#/link' },
  'link-code': { at: INVITED, press: ['.button.accent'] },
  'link-confirmed': { at: INVITED, scene: { link: 'confirmed' }, press: ['.button.accent'] },
  'link-expired': { at: INVITED, scene: { fails: { readInvitation: { kind: 'invitationExpired' } } } },
  'link-used': { at: INVITED, scene: { fails: { acceptInvitation: { kind: 'refused', reason: 'INVITATION_USED', code: 9, metadata: {} } } }, press: ['.button.accent'] },
  'link-false': { at: INVITED, scene: { fails: { readInvitation: lie('invitation', 'partners/hopp') } } },
  lost: { at: '#/nowhere' },
  'bad-unreachable': { at: '', scene: { fails: { requests: { kind: 'unreachable', offline: false } } } },
  'bad-clock': { at: '', scene: { fails: { requests: { kind: 'clock' } } } },
  'bad-request': { at: request, scene: { fails: { readRequest: lie('request') } } },
  'bad-offer': { at: request, scene: { fails: { readRequest: lie('offer', 'partners/hopp') } } },
  'bad-catalogue': { at: request, scene: { fails: { readRequest: lie('catalogue') } } },
  'bad-grant': { at: grant, scene: { fails: { grant: lie('grant') } } },
  'bad-list': { at: '', scene: { fails: { grants: lie('grants') } } },
  'bad-log': { at: '', scene: { fails: { grants: lie('checkpoint') } } },
  'bad-values': { at: `${request}/data`, scene: { fails: { preview: lie('preview') } }, press: ['section.card .button'] },
  'bad-keys': { at: '', scene: { keys: 'none', fails: { unlock: lie('wrapped') } }, press: ['.button.wide:not(.accent)'] },
  'bad-forked': { at: '', scene: { halted: { kind: 'forked', ours: 'a', theirs: 'b' } } },
  'bad-storage': { at: '', opens: { kind: 'storage', problem: 'cleared' } },
  'bad-broker-file': { at: '', opens: { kind: 'otherBroker', known: 'broker.example/log', found: 'other.example/log' } },
  'bad-browser': { at: '', opens: { kind: 'unsupported', missing: 'ed25519' } },
  'over-stolen': { at: '', scene: { keys: 'over', over: { how: 'stolen', index: 40_230, left: [] } } },
  'over-left': {
    at: '',
    scene: { keys: 'over', over: { how: 'closed', index: 40_231, left: [{ source: 'Skylark Air', recipient: 'Hopp Rides', brand: 'Skylark Air', phone: '+1 212 555 0140' }], list: lie('grants') } },
  },
  'over-unproven': { at: '', scene: { keys: 'over', over: { how: 'unproven', left: [] } } },
  'over-forget': { at: '', scene: { keys: 'over', over: { how: 'stolen', index: 40_230, left: [] } }, press: ['.button.plain'] },
}
