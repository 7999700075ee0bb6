import type { ComponentChild } from 'preact'
import type { Companion } from '../core/index.ts'
import { App } from './app'
import { Standalone } from './components/standalone'
import { problem } from './context'
import { load } from './messages'
import { apply, read } from './preferences'

type Render = (what: ComponentChild, where: Element) => void

/** Draws the app upon the core that `opens` opens, or says why it can't. */
export async function start(root: Element | null, render: Render, opens: (languages: readonly string[]) => Promise<Companion>): Promise<void> {
  if (!root) return
  const first = read()
  apply(first)
  const languages = [first.language, ...navigator.languages]
  const [say, core] = await Promise.all([load(first.language), opens(languages).catch((thrown: unknown) => problem(thrown))])
  if ('kind' in core) render(<Standalone say={say} problem={core} />, root)
  else render(<App core={core} first={first} texts={{ language: first.language, say }} />, root)
}
