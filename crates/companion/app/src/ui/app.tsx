import { Component, type ComponentChild, type ComponentType, type JSX } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Companion } from '../core/index.ts'
import { Icon, Mark } from './components/icon'
import { Page } from './components/page'
import { Banner, Button, LinkButton, Waiting } from './components/parts'
import { ProblemNotice } from './components/problem'
import { AppProvider, problem, useApp, type App as AppParts, type Heard, type Problem } from './context'
import { formats } from './format'
import { count, take } from './invitation'
import { load, type Language, type Messages } from './messages'
import { keep, type Preferences } from './preferences'
import { listen, to, usePlace, type Place } from './router'
import { FirstUse } from './screens/first-use'
import { keepFiles } from './worker'

const NOTHING_HEARD: Heard = { requests: 0, grants: 0, links: 0, timeline: 0, settings: 0, status: 0 }

/** Each screen is its own file over the wire. What is kept here has come already, and draws at once. */
const screens = {
  home: later(async () => (await import('./screens/home')).Home),
  request: later(async () => (await import('./screens/request')).Request),
  preview: later(async () => (await import('./screens/preview')).Preview),
  receipt: later(async () => (await import('./screens/receipt')).Receipt),
  grant: later(async () => (await import('./screens/grant')).Grant),
  stop: later(async () => (await import('./screens/stop')).Stop),
  stopAll: later(async () => (await import('./screens/stop-all')).StopAll),
  timeline: later(async () => (await import('./screens/timeline')).Timeline),
  over: later(async () => (await import('./screens/over')).Over),
  settings: later(async () => (await import('./screens/settings')).Settings),
  link: later(async () => (await import('./screens/link')).Link),
}

/** The whole app, around a core that is open. */
export function App({ core, first, texts }: { core: Companion; first: Preferences; texts: { language: Language; say: Messages } }): JSX.Element {
  const [preferences, setPreferences] = useState(first)
  const [spoken, speak] = useState(texts)
  const [status, setStatus] = useState(core.status())
  const [heard, setHeard] = useState(NOTHING_HEARD)
  const [said, announce] = useState('')
  const { say } = spoken
  const format = useMemo(() => formats(spoken.language, say, Date.now), [spoken])

  useEffect(
    () =>
      core.watch(({ what }) => {
        setStatus(core.status())
        setHeard((before) => ({ ...before, [what]: before[what] + 1 }))
      }),
    [core],
  )
  const choose = useCallback(
    (next: Preferences) => {
      // The words come first: a page that is marked as one language and says another would be read out wrongly.
      void load(next.language).then((messages) => {
        keep(next)
        core.setLanguage([next.language, ...navigator.languages])
        speak({ language: next.language, say: messages })
        setPreferences(next)
      })
    },
    [core],
  )
  const app: AppParts = { core, status, say, format, preferences, setPreferences: choose, announce, heard }
  return (
    <AppProvider value={app}>
      <Frame said={said} />
    </AppProvider>
  )
}

function Frame({ said }: { said: string }): JSX.Element {
  const { status, say } = useApp()
  const { place, href } = usePlace()
  const alone = status.keys === 'none' || status.keys === 'over'
  return (
    <div class={`frame ${alone ? 'alone' : ''} ${place.screen === 'request' ? 'deciding' : ''}`}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          document.querySelector('h1')?.focus()
        }}
      >
        {say.app.skip}
      </a>
      {!alone && <Nav place={place} />}
      <main id="main">
        {status.halted && status.keys !== 'over' && (
          <div class="halted">
            <Banner tone="stop" icon="warn">
              <p class="strong">{say.problems.halted}</p>
            </Banner>
            <ProblemNotice problem={status.halted} />
          </div>
        )}
        <Guard key={`${href} ${count()}`}>
          <Screen place={place} />
        </Guard>
      </main>
      <Update />
      <Announced text={said} />
    </div>
  )
}

function Screen({ place }: { place: Place }): JSX.Element {
  const { status, say } = useApp()
  if (status.keys === 'none') return <FirstUse />
  if (status.keys === 'over') return <screens.over />
  switch (place.screen) {
    case 'home':
      return <screens.home />
    case 'request':
      return <screens.request name={`grantRequests/${place.id}`} />
    case 'preview':
      return <screens.preview name={`grantRequests/${place.id}`} />
    case 'receipt':
      return <screens.receipt name={`grantRequests/${place.id}`} />
    case 'grant':
      return <screens.grant name={`grants/${place.id}`} />
    case 'stop':
      return <screens.stop name={`grants/${place.id}`} />
    case 'stop-all':
      return <screens.stopAll />
    case 'timeline':
      return <screens.timeline />
    case 'settings':
      return <screens.settings />
    case 'link':
      return <screens.link />
    case 'lost':
      return (
        <Page title={say.problems.kinds.unknown.title}>
          <p>{say.problems.kinds.unknown.todo}</p>
          <LinkButton href={to.home} icon="home">
            {say.nav.home}
          </LinkButton>
        </Page>
      )
  }
}

function Nav({ place }: { place: Place }): JSX.Element {
  const { say } = useApp()
  const items = [
    { href: to.home, icon: 'home', text: say.nav.home, here: place.screen === 'home' },
    { href: to.activity, icon: 'activity', text: say.nav.activity, here: place.screen === 'timeline' },
    { href: to.settings, icon: 'help', text: say.nav.help, here: place.screen === 'settings' },
  ] as const
  return (
    <nav class="nav" aria-label={say.nav.label}>
      <span class="own">
        <Mark />
        {say.app.name}
      </span>
      <ul>
        {items.map((item) => (
          <li key={item.href}>
            <a href={item.href} aria-current={item.here ? 'page' : undefined}>
              <Icon name={item.icon} size={22} />
              <span>{item.text}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

/** Newer files of the app have come: they are used when the person says so, and never in the middle of something. */
function Update(): JSX.Element | null {
  const { say } = useApp()
  const [ready, set] = useState(false)
  useEffect(() => keepFiles(() => set(true)), [])
  if (!ready) return null
  return (
    <aside class="update" aria-label={say.update.ready}>
      <Banner icon="info">
        <p>{say.update.ready}</p>
        <Button onClick={() => location.reload()}>{say.update.reload}</Button>
      </Banner>
    </aside>
  )
}

/** What was just done, for whoever hears it. The same words twice are said twice. */
function Announced({ text }: { text: string }): JSX.Element {
  const [shown, set] = useState('')
  useEffect(() => {
    set('')
    const timer = setTimeout(() => set(text), 60)
    return () => clearTimeout(timer)
  }, [text])
  return (
    <div class="unseen" role="status">
      {shown}
    </div>
  )
}

/** Holds a defect of ours to its own screen, and says that it is ours. */
class Guard extends Component<{ children: ComponentChild }, { failed?: Problem }> {
  static override getDerivedStateFromError(thrown: unknown): { failed: Problem } {
    return { failed: problem(thrown) }
  }
  override render(): ComponentChild {
    const { failed } = this.state
    return failed ? <ProblemNotice problem={failed} again={() => location.reload()} /> : this.props.children
  }
}

/** A screen that is fetched when it is first gone to. */
function later<P extends object>(get: () => Promise<ComponentType<P>>): ComponentType<P> {
  let had: ComponentType<P> | undefined
  return function Later(props: P) {
    const { say } = useApp()
    const [There, set] = useState<ComponentType<P> | undefined>(() => had)
    const [failed, fail] = useState(false)
    const tries = useRef(0)
    const fetchIt = () => {
      fail(false)
      tries.current++
      get().then(
        (screen) => set(() => (had = screen)),
        () => fail(true),
      )
    }
    useEffect(() => {
      if (!There) fetchIt()
    }, [])
    if (failed) return <ProblemNotice problem={{ kind: 'unreachable', offline: !navigator.onLine }} again={fetchIt} />
    return There ? <There {...props} /> : <Waiting label={say.app.loading} />
  }
}

/** Listens to the browser's buttons and to invitations that are opened while the app stands. */
export function begin(): void {
  take()
  // A link that is opened into a standing page changes the fragment alone; it is taken before any screen reads the address.
  listen(take)
}
