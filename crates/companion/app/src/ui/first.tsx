// What a first visit needs, in one file over the wire.
import { render } from 'preact'
import { openCompanion } from '../core/companion.ts'
import { begin } from './app'
import { start } from './start'

export function draw(): void {
  begin()
  void start(document.getElementById('app'), render, (languages) => openCompanion({ languages }))
}
