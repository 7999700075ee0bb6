import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { GrantView, TimelineEntry } from '../../core/index.ts'
import { Way } from '../components/brand'
import { Entry } from '../components/entry'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Banner, Button, LinkButton } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { StopSteps } from '../components/stopping'
import { Brand, grantLimits, Phone, StateBadge, stands, stopOf, TermsList } from '../components/terms'
import { useAct, useApp, useLoaded } from '../context'
import { reasonText } from '../entries'
import { to } from '../router'
import { Narrowing } from './grant-narrow'
import { SeenLine } from './home'

/** How many of its entries a grant's own screen shows; the timeline has them all. */
const SHOWN = 5

/** One grant: its terms, its uses, the promise beside the fact, and all that ends it. */
export function Grant({ name }: { name: string }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.grant(name), [name, format], ['grants'])
  if (loaded.at === 'there') return <One grant={loaded.value} again={loaded.again} />
  return (
    <Page title={say.home.active}>
      <Show loaded={loaded}>{() => <></>}</Show>
    </Page>
  )
}

function One({ grant, again }: { grant: GrantView; again: () => void }): JSX.Element {
  const { core, say, format } = useApp()
  const { terms } = grant
  const page = useLoaded(() => core.timeline({ grant: grant.name }), [grant.name, format], ['timeline'])
  const entries = page.at === 'there' ? page.value.entries : undefined
  return (
    <Page
      title={say.grant.title(terms.source.displayName, terms.recipient.displayName)}
      lead={
        <p>
          <Brand text={terms.text.benefit} language={terms.text.language} />
        </p>
      }
    >
      <SeenLine />
      {grant.fault && <ProblemNotice problem={grant.fault} />}
      <div class="card">
        <div class="line apart">
          <Way source={terms.source} recipient={terms.recipient} />
          <StateBadge grant={grant} />
        </div>
        {grant.reason && <p class="small">{reasonText(grant.reason, say)}</p>}
        {grant.successor && (
          <p class="small">
            <a href={to.grant(grant.successor)}>{say.grant.replacedBy}</a>
          </p>
        )}
        <div class="stack tight">
          <p class="line apart numbers">
            <span>
              {say.grant.used} {say.grant.usedOf(format.number(grant.useCount), format.number(terms.uses))}
            </span>
            <span class="small soft">{say.grant.left(Math.max(0, terms.uses - grant.useCount))}</span>
          </p>
          <progress class="meter" max={terms.uses} value={grant.useCount} aria-label={say.grant.used} />
          <p class="small soft">{say.home.until(format.moment(grant.expires))}</p>
        </div>
        {entries && <ComparedLine entries={entries} />}
      </div>
      {(stopOf(grant) || grant.erasure) && (
        <Part title={say.stop.progress}>
          <StopSteps grant={grant} />
        </Part>
      )}
      <Actions grant={grant} again={again} />
      <Part title={say.grant.promise}>
        <Beside grant={grant} entries={entries ?? []} />
      </Part>
      <Part title={say.grant.terms}>
        <div class="card">
          <TermsList terms={terms} limits={grantLimits(grant)} />
          <p class="small">
            {say.terms.person}: <Phone phone={terms.contactPhone} />
          </p>
          <p class="small">
            {say.receipt.code}: <span class="code strong">{grant.code}</span>
          </p>
        </div>
      </Part>
      <Part title={say.grant.activity}>
        <Show loaded={page}>{({ entries: list }) => <Latest entries={list} grant={grant} />}</Show>
      </Part>
    </Page>
  )
}

function Latest({ entries, grant }: { entries: readonly TimelineEntry[]; grant: GrantView }): JSX.Element {
  const { say } = useApp()
  if (entries.length === 0) return <p class="soft">{say.grant.noActivity}</p>
  return (
    <>
      <ul class="rows">
        {entries.slice(0, SHOWN).map((entry) => (
          <Entry key={entry.index} entry={entry} grant={grant} />
        ))}
      </ul>
      <LinkButton href={to.activity} look="plain" icon="activity">
        {say.timeline.title}
      </LinkButton>
    </>
  )
}

/** What the first transfer moved, held against what was looked at before the approval. */
function ComparedLine({ entries }: { entries: readonly TimelineEntry[] }): JSX.Element | null {
  const { say, format } = useApp()
  const compared = entries.find((entry) => entry.compared)?.compared
  if (!compared) return null
  const that = (since: 'changed' | 'unseen') => compared.filter((one) => one.since === since).map((one) => one.field.title)
  const [changed, unseen] = [that('changed'), that('unseen')]
  return (
    <p class="small soft">
      {changed.length + unseen.length === 0 && say.grant.compared.same}
      {changed.length > 0 && say.grant.compared.changed(format.list(changed))} {unseen.length > 0 && say.grant.compared.unseen(format.list(unseen))}
    </p>
  )
}

function Actions({ grant, again }: { grant: GrantView; again: () => void }): JSX.Element | null {
  const { core, say, announce, status } = useApp()
  const { busy, failed, act } = useAct()
  const [narrowing, narrow] = useState(false)
  const what = say.app.gives(grant.terms.source.displayName, grant.terms.recipient.displayName)
  const cant = busy ? say.app.loading : undefined
  const needsNet = status.online ? cant : say.offline.needsNet
  const run = (verb: () => Promise<unknown>, said: string) => () =>
    act(async () => {
      await verb()
      announce(said)
      again()
    })
  if (!stands(grant)) {
    const canErase = !grant.erasure && grant.state !== 'superseded' && !grant.queued
    return canErase ? (
      <LinkButton href={to.stop(grant.name)} icon="stop" look="stop wide">
        {say.stop.deleteOnly}
      </LinkButton>
    ) : null
  }
  const paused = grant.state === 'paused'
  return (
    <div class="stack">
      {failed && <ProblemNotice problem={failed} again={again} />}
      <div class="pair">
        <Button
          icon={paused ? 'play' : 'pause'}
          unable={cant}
          onClick={run(() => (paused ? core.resume(grant.name) : core.pause(grant.name)), paused ? say.home.resumed(what) : say.home.paused(what))}
        >
          {paused ? say.grant.resume : say.grant.pause}
        </Button>
        <LinkButton href={to.stop(grant.name)} icon="stop" look="stop">
          {say.grant.stop}
        </LinkButton>
      </div>
      {grant.state === 'active' && (
        <Button icon="edit" look="wide" unable={needsNet} onClick={() => narrow(true)}>
          {say.grant.shorten}
        </Button>
      )}
      {grant.state === 'active' && grant.fields.some((field) => field.needsTap) && (
        <Banner icon="pin">
          <p>{say.grant.tapHint(grant.terms.recipient.displayName)}</p>
          <Button icon="pin" unable={needsNet} onClick={run(() => core.tap(grant.name), say.grant.tapped)}>
            {say.grant.tap}
          </Button>
        </Banner>
      )}
      {narrowing && <Narrowing grant={grant} close={() => narrow(false)} />}
    </div>
  )
}

/** What was promised, and what the log measured. */
function Beside({ grant, entries }: { grant: GrantView; entries: readonly TimelineEntry[] }): JSX.Element {
  const { say, format } = useApp()
  const { terms } = grant
  const moved = entries.filter((entry) => entry.kind === 'transfer')
  const refused = entries.filter((entry) => entry.kind === 'refused').length
  const paths = new Set(moved.flatMap((entry) => entry.fields.map((field) => field.path)))
  const named = grant.fields.filter((field) => paths.has(field.path)).map((field) => field.title)
  const facts = say.grant
  const rows: [string, JSX.Element | string, string][] = [
    [say.terms.often, say.terms.times(terms.uses), facts.factUses(grant.useCount)],
    [
      say.terms.what,
      format.list(grant.fields.map((field) => field.title)),
      named.length === 0 ? facts.factFields(0) : `${facts.factFields(named.length)}: ${format.list(named)}`,
    ],
    [say.grant.purposeRow, terms.purpose.title, facts.factRefused(refused)],
    [
      say.terms.until,
      <Brand text={terms.text.ends} language={terms.text.language} />,
      moved[0] ? facts.factLast(format.moment(moved[0].at)) : facts.factUses(0),
    ],
  ]
  return (
    <div class="card">
      {rows.map(([name, promised, fact]) => (
        <section key={name} class="stack tight beside">
          <h3>{name}</h3>
          <dl class="terms">
            <dt>{facts.promised}</dt>
            <dd>{promised}</dd>
            <dt>{facts.measured}</dt>
            <dd class="fact">
              <Icon name="proof" size={16} />
              <span>{fact}</span>
            </dd>
          </dl>
        </section>
      ))}
    </div>
  )
}
