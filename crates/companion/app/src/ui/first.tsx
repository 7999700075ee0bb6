// What a first visit needs, in one file over the wire.
import { render } from 'preact'
import { openCompanion } from '../core/companion.ts'
import { begin } from './app'
import { start } from './start'

export function draw(): void {
  // A later visit has its files on the device: what the home screen needs is read while the core opens.
  if (navigator.serviceWorker?.controller) homeward().catch(() => undefined)
  begin()
  void start(document.getElementById('app'), render, (languages) => openCompanion({ languages }))
}

const homeward = (): Promise<unknown> =>
  Promise.all([
    import('./screens/home'), import('../core/grants.ts'), import('../core/links.ts'), import('../core/live.ts'), import('../core/requests.ts'), import('../core/settings.ts'),
  ])
