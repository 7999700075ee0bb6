import { useEffect, useState } from 'preact/hooks'

/**
 * Where the person is. The place stands in the address's fragment, which no server is ever sent, and so the app works from any
 * folder of any static host. Nothing but the names of resources goes into it.
 */
export type Place =
  | { screen: 'home' }
  | { screen: 'request'; id: string }
  | { screen: 'preview'; id: string }
  | { screen: 'receipt'; id: string }
  | { screen: 'grant'; id: string }
  | { screen: 'stop'; id: string }
  | { screen: 'stop-all' }
  | { screen: 'timeline' }
  | { screen: 'settings' }
  | { screen: 'link' }
  | { screen: 'lost' }

const PLAIN = { '': 'home', activity: 'timeline', stop: 'stop-all', settings: 'settings', link: 'link' } as const
const OF_REQUEST = { '': 'request', data: 'preview', receipt: 'receipt' } as const
const OF_GRANT = { '': 'grant', stop: 'stop' } as const
const ID = /^[0-9a-f]{64}$/

/** Reads a fragment. What is not of a known form leads nowhere, and says so. */
export function read(fragment: string): Place {
  const [, first = '', id, last = '', ...rest] = fragment.replace(/^#/, '').split('/')
  if (id === undefined) return Object.hasOwn(PLAIN, first) ? { screen: PLAIN[first as keyof typeof PLAIN] } : { screen: 'lost' }
  if (!ID.test(id) || rest.length > 0) return { screen: 'lost' }
  if (first === 'requests' && Object.hasOwn(OF_REQUEST, last)) return { screen: OF_REQUEST[last as keyof typeof OF_REQUEST], id }
  if (first === 'grants' && Object.hasOwn(OF_GRANT, last)) return { screen: OF_GRANT[last as keyof typeof OF_GRANT], id }
  return { screen: 'lost' }
}

const id = (name: string) => name.slice(name.lastIndexOf('/') + 1)

/** The fragments of places; resources are named as the API names them. */
export const to = {
  home: '#/',
  activity: '#/activity',
  settings: '#/settings',
  stopAll: '#/stop',
  link: '#/link',
  request: (name: string) => `#/requests/${id(name)}`,
  preview: (name: string) => `#/requests/${id(name)}/data`,
  receipt: (name: string) => `#/requests/${id(name)}/receipt`,
  grant: (name: string) => `#/grants/${id(name)}`,
  stop: (name: string) => `#/grants/${id(name)}/stop`,
}

const listeners = new Set<() => void>()
const announce = () => listeners.forEach((listener) => listener())

interface Step {
  /** How many steps of this app lie behind this one. */
  depth: number
  /** How far the page was scrolled when it was left. */
  top?: number
}

const step = (): Step => (history.state as Step | null) ?? { depth: 0 }

/** Goes to a place. `replace` leaves no way back to the one before: what is done can't be done twice. */
export function go(href: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'push') {
    history.replaceState({ ...step(), top: scrollY }, '')
    history.pushState({ depth: step().depth + 1 } satisfies Step, '', href)
  } else {
    history.replaceState({ depth: step().depth } satisfies Step, '', href)
  }
  announce()
}

/** Goes back within the app, or home where there is nothing behind. */
export function back(): void {
  if (step().depth > 0) history.back()
  else go(to.home, 'replace')
}

/** How far the page was scrolled when it was last here. */
export const lastTop = (): number => step().top ?? 0

/** Begins to listen to the browser's own buttons, and to the app's links. `before` sees each new address first. */
export function listen(before: () => void): void {
  history.scrollRestoration = 'manual'
  const turned = () => {
    before()
    announce()
  }
  addEventListener('popstate', turned)
  addEventListener('hashchange', turned)
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null
    const href = link?.getAttribute('href')
    if (!href?.startsWith('#/') || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    go(href)
  })
}

/** The place, as it changes. */
export function usePlace(): { place: Place; href: string } {
  const [{ href }, set] = useState({ href: location.hash })
  useEffect(() => {
    // An object anew each time: what stands under the same address may be another invitation.
    const listener = () => set({ href: location.hash })
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
    }
  }, [])
  return { place: read(href), href }
}
