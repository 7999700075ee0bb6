import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Tile, Way } from '../components/brand'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Badge, Banner, Button, LinkButton } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { StateBadge, stands, stopOf, Brand } from '../components/terms'
import { useAct, useApp, useLoaded } from '../context'
import type { Companion, GrantView, LinkView, Seen, WaitingView } from '../../core/index.ts'
import { to } from '../router'
import { inOrder } from '../preferences'

/** What is shared, what waits, and what it is good for; pause and stop are one tap away. */
export function Home(): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(
    async () => {
      const [requests, grants, links] = await Promise.all([core.requests(), core.grants(), core.links()])
      return { requests, grants, links }
    },
    [format],
    ['requests', 'grants', 'links'],
  )
  // What was last seen stands there until the broker has answered: on a slow network that is the difference of a second.
  const [seen, show] = useState<Seen>()
  useEffect(() => {
    core.seen().then(show, () => undefined)
  }, [])
  const home = loaded.at === 'there' ? loaded.value : loaded.at === 'loading' ? seen : undefined
  return (
    <Page title={say.home.title} alone>
      <SeenLine />
      {home && (
        <p class="tiny soft looking" role="status">
          {loaded.at === 'loading' && say.home.looking}
        </p>
      )}
      {home ? <Parts home={home} again={loaded.again} /> : <Show loaded={loaded}>{() => <></>}</Show>}
    </Page>
  )
}

function Parts({ home, again }: { home: Seen; again: () => void }): JSX.Element {
  const { say, preferences, announce } = useApp()
  const { requests, grants, links } = home
  const waiting = requests.filter((request) => request.state === 'requested' || request.state === 'deferred')
  const standing = grants.filter(stands)
  const known = useRef<ReadonlySet<string>>(undefined)
  useEffect(() => {
    if (known.current && waiting.some(({ name }) => !known.current?.has(name))) announce(say.app.newRequest)
    known.current = new Set(waiting.map(({ name }) => name))
  }, [requests])
  const parts = {
    requests: waiting.length > 0 && (
      <Part key="requests" title={say.home.waiting}>
        {waiting.map((request) => (
          <Asked key={request.name} request={request} />
        ))}
      </Part>
    ),
    sharing: (
      <Part key="sharing" title={say.home.active}>
        {standing.length === 0 ? <Nothing linked={links.length > 0} /> : standing.map((grant) => <Sharing key={grant.name} grant={grant} changed={again} />)}
        {standing.length > 0 && (
          <LinkButton href={to.stopAll} icon="stop" look="stop wide">
            {say.home.stopAll}
          </LinkButton>
        )}
      </Part>
    ),
    benefits: standing.length > 0 && <Benefits key="benefits" standing={standing} />,
  }
  const order = inOrder(preferences.first)
  return (
    <>
      <Late grants={grants.filter((grant) => grant.erasure?.overdue === true)} />
      {order.map((part) => parts[part])}
      <Ended grants={grants.filter((grant) => !stands(grant))} />
      <Linked links={links} />
    </>
  )
}

/** When this was seen, if that is not now. */
export function SeenLine(): JSX.Element | null {
  const { say, format, status } = useApp()
  if (status.online) return null
  return (
    <Banner tone="warn" icon="offline">
      <p>
        {say.offline.banner} {status.lastSeen !== undefined && say.offline.seen(format.moment(status.lastSeen))}
      </p>
      {status.queued > 0 && <p class="strong">{say.offline.queued(status.queued)}</p>}
    </Banner>
  )
}

/** A brand owes a deletion: that stands before all else. */
function Late({ grants }: { grants: readonly GrantView[] }): JSX.Element | null {
  const { say } = useApp()
  if (grants.length === 0) return null
  return (
    <Banner tone="stop" icon="warn">
      <p class="strong">{say.home.overdue}</p>
      {grants.map((grant) => (
        <LinkButton key={grant.name} href={to.stop(grant.name)} look="stop" label={`${say.home.overdue}: ${grant.terms.recipient.displayName}`}>
          {grant.terms.recipient.displayName}
        </LinkButton>
      ))}
    </Banner>
  )
}

function Asked({ request }: { request: WaitingView }): JSX.Element {
  const { say, format } = useApp()
  return (
    <a class="card asked" href={to.request(request.name)}>
      <span class="line apart">
        <span class="way">
          <Tile brand={request.requester} />
          <span>
            <span class="strong">{say.home.asks(request.requester.displayName)}</span>
            <br />
            <span class="small soft">{say.home.rows(request.rows)}</span>
          </span>
        </span>
        <Icon name="chevron" />
      </span>
      <span class="line small">
        {request.state === 'deferred' && <Badge>{say.home.later}</Badge>}
        <span class="soft">{say.home.answerBy(format.moment(request.expires))}</span>
      </span>
    </a>
  )
}

function Sharing({ grant, changed }: { grant: GrantView; changed: () => void }): JSX.Element {
  const { core, say, format, announce } = useApp()
  const { terms } = grant
  const { busy, failed, act } = useAct()
  const what = say.app.gives(terms.source.displayName, terms.recipient.displayName)
  const paused = grant.state === 'paused'
  const turn = () =>
    act(async () => {
      await (paused ? core.resume(grant.name) : core.pause(grant.name))
      announce(paused ? say.home.resumed(what) : say.home.paused(what))
      changed()
    })
  return (
    <article class="card" aria-label={what}>
      <a class="cover" href={to.grant(grant.name)}>
        <span class="line apart">
          <Way source={terms.source} recipient={terms.recipient} />
          {grant.state !== 'active' || grant.queued ? <StateBadge grant={grant} /> : null}
        </span>
        <span class="small">
          <Brand text={terms.text.benefit} language={terms.text.language} />
        </span>
      </a>
      <div class="stack tight">
        <progress class="meter" max={terms.uses} value={grant.useCount} aria-label={say.grant.used} />
        <p class="line apart tiny soft numbers">
          <span>{say.home.uses(format.number(grant.useCount), format.number(terms.uses))}</span>
          <span>{say.home.until(format.moment(grant.expires))}</span>
        </p>
      </div>
      {failed && <ProblemNotice problem={failed} again={turn} />}
      {stopOf(grant)?.state === 'queued' ? (
        <LinkButton href={to.stop(grant.name)} icon="offline" label={`${say.stop.progress}: ${what}`}>
          {say.stop.progress}
        </LinkButton>
      ) : (
        <div class="pair">
          <Button icon={paused ? 'play' : 'pause'} onClick={turn} unable={busy ? say.app.loading : undefined} label={`${paused ? say.home.resume : say.home.pause}: ${what}`}>
            {paused ? say.home.resume : say.home.pause}
          </Button>
          <LinkButton href={to.stop(grant.name)} icon="stop" label={`${say.home.stop}: ${what}`}>
            {say.home.stop}
          </LinkButton>
        </div>
      )}
    </article>
  )
}

function Nothing({ linked }: { linked: boolean }): JSX.Element {
  const { say } = useApp()
  return (
    <div class="card off">
      <h3>{say.home.nothing}</h3>
      <p class="small soft">{linked ? say.home.nothingHint : say.home.linkHint}</p>
    </div>
  )
}

/** How many pages of transfers are read to count a month's; with more, nothing is said of it. */
const MONTH_PAGES = 8

function Benefits({ standing }: { standing: readonly GrantView[] }): JSX.Element {
  const { core, say, format } = useApp()
  const uses = useLoaded(() => usesThisMonth(core), [], ['timeline'])
  return (
    <Part title={say.home.benefits} hint={say.home.benefitsHint(format.month(Date.now()))}>
      <ul class="rows">
        {standing.map((grant) => (
          <Benefit key={grant.name} grant={grant} count={uses.at === 'there' && uses.value ? (uses.value.get(grant.name) ?? 0) : undefined} />
        ))}
      </ul>
    </Part>
  )
}

/** How often each grant was used since the month began; nothing if that is too much to read. */
async function usesThisMonth(core: Companion): Promise<Map<string, number> | undefined> {
  const now = new Date()
  const start = new Date(now.getFullYear(), now.getMonth(), 1).getTime()
  const uses = new Map<string, number>()
  let cursor: string | undefined
  for (let page = 0; page < MONTH_PAGES; page++) {
    const { entries, next } = await core.timeline({ filter: 'transfers', ...(cursor === undefined ? {} : { cursor }) })
    for (const entry of entries) {
      if (entry.at < start) return uses
      if (entry.kind === 'transfer' && entry.grant !== undefined) uses.set(entry.grant, (uses.get(entry.grant) ?? 0) + 1)
    }
    if (next === undefined) return uses
    cursor = next
  }
  return undefined
}

function Benefit({ grant, count }: { grant: GrantView; count: number | undefined }): JSX.Element {
  const { say } = useApp()
  const { terms } = grant
  return (
    <li>
      <a href={to.grant(grant.name)}>
        <span class="grow">
          <Brand text={terms.text.benefit} language={terms.text.language} />
          <br />
          <span class="tiny soft">
            {[terms.recipient.displayName, say.terms.kinds[terms.benefitKind], count === 0 ? say.home.unusedHint : count !== undefined && say.home.moved(count)].filter(Boolean).join(' · ')}
          </span>
        </span>
        <Icon name="chevron" />
      </a>
    </li>
  )
}

function Ended({ grants }: { grants: readonly GrantView[] }): JSX.Element | null {
  const { say } = useApp()
  const [open, set] = useState(false)
  if (grants.length === 0) return null
  const late = grants.filter((grant) => grant.erasure?.overdue === true || grant.queued)
  const shown = open ? grants : late
  return (
    <Part title={say.home.ended}>
      {shown.length > 0 && (
        <ul class="rows">
          {shown.map((grant) => (
            <li key={grant.name}>
              <a href={to.grant(grant.name)}>
                <span class="grow line apart">
                  <Way source={grant.terms.source} recipient={grant.terms.recipient} tiles={false} />
                  <StateBadge grant={grant} />
                </span>
                <Icon name="chevron" />
              </a>
            </li>
          ))}
        </ul>
      )}
      {!open && shown.length < grants.length && (
        <Button look="plain" onClick={() => set(true)}>
          {say.home.showEnded(grants.length - shown.length)}
        </Button>
      )}
    </Part>
  )
}

function Linked({ links }: { links: readonly LinkView[] }): JSX.Element {
  const { say } = useApp()
  const standing = links.filter((link) => link.state === 'confirmed' || link.state === 'accepted')
  return (
    <Part title={say.home.links}>
      {standing.length === 0 ? (
        <p class="small soft">{say.home.noLinks}</p>
      ) : (
        <ul class="rows">
          {standing.map((link) => (
            <li key={link.name}>
              <span class="row">
                <Tile brand={link.brand} />
                <span class="grow">
                  {link.brand.displayName}
                  {link.label && (
                    <>
                      <br />
                      <span class="tiny soft">{link.label}</span>
                    </>
                  )}
                </span>
                {link.state === 'accepted' && <Badge tone="warn" icon="clock">{say.link.waiting(link.brand.displayName)}</Badge>}
              </span>
            </li>
          ))}
        </ul>
      )}
      <LinkButton href={to.link} look="plain" icon="plus">
        {say.link.paste}
      </LinkButton>
    </Part>
  )
}
