import { createContext } from 'preact'
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks'
import type { Change, Companion, CoreError, Status } from '../core/index.ts'
import type { Format } from './format'
import type { Messages } from './messages'
import type { Preferences } from './preferences'

/** What a screen can be told went wrong. `unexpected` is the app's own defect: the core throws nothing else on purpose. */
export type Problem = CoreError | { kind: 'unexpected'; name: string }

/** How often each kind of thing has changed since the app was opened. */
export type Heard = Readonly<Record<Change['what'], number>>

/** What every screen has at hand. */
export interface App {
  readonly core: Companion
  readonly status: Status
  readonly say: Messages
  readonly format: Format
  readonly preferences: Preferences
  setPreferences(preferences: Preferences): void
  /** Says something to whoever hears rather than sees. */
  announce(text: string): void
  readonly heard: Heard
}

const context = createContext<App | undefined>(undefined)
export const AppProvider = context.Provider

export function useApp(): App {
  const app = useContext(context)
  if (app === undefined) throw new Error('no app around this part')
  return app
}

/** Makes whatever was thrown a problem that can be shown. */
export function problem(thrown: unknown): Problem {
  if (thrown instanceof Error && thrown.name === 'Failed' && 'error' in thrown) return thrown.error as CoreError
  return { kind: 'unexpected', name: thrown instanceof Error ? thrown.name : typeof thrown }
}

export type Loaded<T> =
  | { readonly at: 'loading' }
  | { readonly at: 'there'; readonly value: T }
  | { readonly at: 'failed'; readonly problem: Problem }

export type Reloaded<T> = Loaded<T> & { readonly again: () => void }

/** Asks for something, and again when what it is about has changed; what was there stays until the new has come. */
export function useLoaded<T>(ask: () => Promise<T>, by: readonly unknown[], about: readonly Change['what'][]): Reloaded<T> {
  const { heard } = useApp()
  const [loaded, set] = useState<Loaded<T>>({ at: 'loading' })
  const [tries, count] = useState(0)
  const round = useRef(0)
  useEffect(() => {
    const mine = ++round.current
    ask().then(
      (value) => mine === round.current && set({ at: 'there', value }),
      (thrown: unknown) => mine === round.current && set({ at: 'failed', problem: problem(thrown) }),
    )
    return () => {
      round.current++
    }
  }, [...by, ...about.map((what) => heard[what]), tries])
  return { ...loaded, again: useCallback(() => count((tried) => tried + 1), []) }
}

/** Something that the person set off: one at a time, and a failure is kept to be shown. */
export function useAct(): { busy: boolean; failed: Problem | undefined; act: (what: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false)
  const [failed, setFailed] = useState<Problem>()
  const running = useRef(false)
  const act = useCallback((what: () => Promise<void>) => {
    if (running.current) return
    running.current = true
    setBusy(true)
    setFailed(undefined)
    // Called within the tap itself: a passkey is asked for by nothing else.
    what()
      .catch((thrown: unknown) => setFailed(problem(thrown)))
      .finally(() => {
        running.current = false
        setBusy(false)
      })
  }, [])
  return { busy, failed, act }
}
