// @vitest-environment happy-dom
import { beforeEach, expect, test } from 'vitest'
import { hold, invitation, take } from '../../src/ui/invitation'
import { read, to } from '../../src/ui/router'

const ID = 'ab'.repeat(32)

test('a place is read from its fragment alone, and what is no place leads nowhere', () => {
  const check = (fragment: string, screen: string) => expect(read(fragment).screen, fragment).toBe(screen)
  check('', 'home')
  check('#/', 'home')
  check('#/activity', 'timeline')
  check('#/stop', 'stop-all')
  check('#/settings', 'settings')
  check(to.request(`grantRequests/${ID}`), 'request')
  check(to.preview(`grantRequests/${ID}`), 'preview')
  check(to.receipt(`grantRequests/${ID}`), 'receipt')
  check(to.grant(`grants/${ID}`), 'grant')
  check(to.stop(`grants/${ID}`), 'stop')
  for (const wrong of ['#/grants/1', `#/grants/${ID}/else`, `#/grants/${ID}/stop/now`, '#/toString', '#/constructor', `#/grants/${ID.toUpperCase()}`, '#/grants/../stop']) check(wrong, 'lost')
})

beforeEach(() => hold(undefined))

test('an invitation is out of the address as soon as it is taken', () => {
  history.replaceState(null, '', '#countersign-invitation=secret')
  expect(take()).toBe(true)
  expect(location.href).not.toContain('secret')
  expect(JSON.stringify(history.state)).not.toContain('secret')
  expect(location.hash).toBe(to.link)
  expect(invitation()).toBe('#countersign-invitation=secret')
})

test('no other address is taken for one', () => {
  history.replaceState(null, '', to.home)
  expect(take()).toBe(false)
  expect(invitation()).toBeUndefined()
})
