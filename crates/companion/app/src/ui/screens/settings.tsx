import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Asking, Settings as Kept } from '../../core/index.ts'
import { Tile } from '../components/brand'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Button, Choices, Stepper, Switch, Term, Waiting } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { Phone } from '../components/terms'
import { useAct, useApp, useLoaded } from '../context'
import { LANGUAGES } from '../messages'
import { Passkeys } from './settings-keys'
import { Leaving } from './settings-leave'

/** A person to call, how one is asked, how it looks, what opens the keys, and the ways out. */
export function Settings(): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.settings(), [format], ['settings'])
  return (
    <Page title={say.settings.title} alone>
      <Show loaded={loaded}>
        {(settings) => (
          <>
            <People settings={settings} />
            <Asked settings={settings} />
          </>
        )}
      </Show>
      <Looks />
      {loaded.at === 'there' && <Passkeys settings={loaded.value} />}
      <Leaving />
      <About />
    </Page>
  )
}

function People({ settings }: { settings: Kept }): JSX.Element {
  const { say } = useApp()
  return (
    <Part title={say.settings.call} hint={settings.phones.length > 0 ? say.settings.callHint : say.settings.noNumbers}>
      {settings.phones.length > 0 && (
        <ul class="rows">
          {settings.phones.map(({ brand, phone }) => (
            <li key={brand.name}>
              <span class="row">
                <Tile brand={brand} />
                <span class="grow">{brand.displayName}</span>
                <Phone phone={phone} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Part>
  )
}

/** The quiet hours that a switch turns on: from ten in the evening to seven. */
const NIGHT = { fromMinute: 22 * 60, untilMinute: 7 * 60 }
/** What the broker puts before a customer unless told otherwise, and the most that it takes. */
const DAY = { usual: 1, most: 10 }
const WEEK = { usual: 3, most: 30 }

function Asked({ settings }: { settings: Kept }): JSX.Element {
  const { core, say, format, announce, status } = useApp()
  const [asking, show] = useState(settings.asking)
  const { busy, failed, act } = useAct()
  useEffect(() => show(settings.asking), [settings])
  const set = (part: Partial<Asking>) => {
    const next: Asking = { ...asking, ...part, timeZone: format.zone() }
    if ('quiet' in part && part.quiet === undefined) delete next.quiet
    show(next)
    act(async () => {
      await core.setAsking(next).catch((thrown: unknown) => {
        show(asking)
        throw thrown
      })
      announce(say.settings.saved)
    })
  }
  const time = (key: 'fromMinute' | 'untilMinute', label: string) =>
    asking.quiet && (
      <label class="field">
        <span>{label}</span>
        <input
          type="time"
          required
          value={clock(asking.quiet[key])}
          onChange={(event) => {
            const minute = minuteOf(event.currentTarget.value)
            if (minute !== undefined && asking.quiet) set({ quiet: { ...asking.quiet, [key]: minute } })
          }}
        />
      </label>
    )
  return (
    <Part title={say.settings.asking}>
      <div class="card">
        <Switch on={asking.paused} set={(paused) => set({ paused })} unable={!status.online || busy}>
          {say.settings.askPaused}
        </Switch>
        <hr class="rule" />
        <Switch on={asking.quiet !== undefined} set={(on) => set(on ? { quiet: NIGHT } : ({ quiet: undefined } as unknown as Partial<Asking>))} unable={!status.online || busy}>
          {say.settings.quiet}
        </Switch>
        <p class="small soft">
          {say.settings.quietHint} {say.settings.zone(format.zone())}
        </p>
        {asking.quiet && (
          <div class="pair">
            {time('fromMinute', say.settings.from)}
            {time('untilMinute', say.settings.untilTime)}
          </div>
        )}
        <hr class="rule" />
        <div class="pair">
          <Stepper label={say.settings.perDay} value={asking.perDay || DAY.usual} least={1} most={DAY.most} set={(perDay) => set({ perDay })} fewer={say.request.changing.fewer} more={say.request.changing.moreTimes} say={format.number} />
          <Stepper label={say.settings.perWeek} value={asking.perWeek || WEEK.usual} least={1} most={WEEK.most} set={(perWeek) => set({ perWeek })} fewer={say.request.changing.fewer} more={say.request.changing.moreTimes} say={format.number} />
        </div>
        {failed && <ProblemNotice problem={failed} />}
      </div>
      {settings.silences.length > 0 && (
        <div class="card">
          <h3>{say.settings.silences}</h3>
          {settings.silences.map(({ brand, until }) => (
            <div class="line apart" key={brand.name}>
              <span>{say.settings.silentUntil(brand.displayName, format.date(until))}</span>
              <Button onClick={() => act(() => core.endSilence(brand.name))} unable={busy ? say.app.loading : undefined}>
                {say.settings.endSilence}
              </Button>
            </div>
          ))}
        </div>
      )}
    </Part>
  )
}

export const clock = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`

export function minuteOf(text: string): number | undefined {
  const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)/.exec(text) ?? []
  return hours === undefined ? undefined : Number(hours) * 60 + Number(minutes)
}

function Looks(): JSX.Element {
  const { say, preferences, setPreferences } = useApp()
  const first = [
    { value: 'requests', label: say.settings.firstRequests },
    { value: 'sharing', label: say.settings.firstSharing },
    { value: 'benefits', label: say.settings.firstBenefits },
  ] as const
  return (
    <Part title={say.settings.view}>
      <div class="card">
        <Choices
          legend={say.settings.language}
          name="language"
          options={LANGUAGES.map(({ tag, name }) => ({ value: tag, label: name, lang: tag }))}
          value={preferences.language}
          set={(language) => setPreferences({ ...preferences, language })}
        />
        <Choices
          legend={say.settings.textSize}
          name="text"
          options={([1, 2, 3, 4] as const).map((value) => ({ value, label: say.settings.sizes[value - 1] ?? '' }))}
          value={preferences.text}
          set={(text) => setPreferences({ ...preferences, text })}
        />
        <Choices legend={say.settings.first} name="first" options={first} value={preferences.first} set={(part) => setPreferences({ ...preferences, first: part })} />
      </div>
    </Part>
  )
}

function About(): JSX.Element {
  const { say, status } = useApp()
  const [build, set] = useState<string>()
  useEffect(() => {
    fingerprint().then(set, () => set('—'))
  }, [])
  return (
    <Part title={say.settings.about} hint={say.settings.install}>
      <details class="card">
        <summary>
          <Icon name="chevron" size={16} />
          {say.app.details}
        </summary>
        <dl class="terms">
          <Term name={say.settings.build}>{build === undefined ? <Waiting label={say.app.loading} blocks={1} /> : <span class="code tiny">{build}</span>}</Term>
          <Term name={say.settings.broker}>
            <span class="code tiny">{status.broker.address}</span>
          </Term>
          <Term name={say.settings.log}>
            <span class="code tiny">{status.broker.logKey || status.broker.origin}</span>
          </Term>
        </dl>
        <p class="small soft">{say.settings.buildHint}</p>
      </details>
    </Part>
  )
}

/** SHA-256 of the list of this build's files, as the build printed it. */
async function fingerprint(): Promise<string> {
  const answer = await fetch('./listing.txt', { credentials: 'omit' })
  if (!answer.ok) return '—'
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await answer.arrayBuffer()))
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
