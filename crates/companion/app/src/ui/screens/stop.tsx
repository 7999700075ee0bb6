import type { JSX } from 'preact'
import { Way } from '../components/brand'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Banner, Button, LinkButton } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { StopSteps } from '../components/stopping'
import { Brand, stands, stopOf } from '../components/terms'
import { useAct, useApp, useLoaded } from '../context'
import type { GrantView } from '../../core/index.ts'
import { go, to } from '../router'

/** What a stop does, what it leaves, and how far it has come. */
export function Stop({ name }: { name: string }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.grant(name), [name, format], ['grants'])
  return (
    <Page title={say.stop.title}>
      <Show loaded={loaded}>{(grant) => <One grant={grant} again={loaded.again} />}</Show>
    </Page>
  )
}

function One({ grant, again }: { grant: GrantView; again: () => void }): JSX.Element {
  const { core, say, announce, format, status } = useApp()
  const { terms } = grant
  const { online } = status
  const source = terms.source.displayName
  const recipient = terms.recipient.displayName
  const { busy, failed, act } = useAct()
  const stop = stopOf(grant)
  const begun = stop !== undefined || grant.erasure !== undefined
  const open = stands(grant) && (stop === undefined || stop.state === 'refused')
  const run = (erase: boolean) => () =>
    act(async () => {
      const { state } = await core.stop(grant.name, { erase })
      announce(state === 'queued' ? say.stop.queued : say.stop.recorded)
      again()
    })
  const pause = () =>
    act(async () => {
      await core.pause(grant.name)
      announce(say.home.paused(say.app.gives(source, recipient)))
      go(to.grant(grant.name), 'replace')
    })
  const cant = busy ? say.app.loading : undefined
  return (
    <>
      <div class="card">
        <Way source={terms.source} recipient={terms.recipient} />
        <p class="small soft">
          <Brand text={terms.text.benefit} language={terms.text.language} />
        </p>
      </div>
      {begun && (
        <Part title={say.stop.progress}>
          <StopSteps grant={grant} />
        </Part>
      )}
      {open && (
        <Part title={say.stop.what}>
          <ul class="points">
            <Point icon="stop">{say.stop.nothingMore(recipient, source)}</Point>
            <Point icon="minus">
              {say.stop.lose} <Brand text={terms.text.benefit} language={terms.text.language} />
            </Point>
            <Point icon="info">{say.stop.noReopen}</Point>
          </ul>
        </Part>
      )}
      {!open && !begun && <p>{say.stop.deleteLead(recipient)}</p>}
      <Part title={say.stop.retained}>
        <ul class="points">
          <Point icon="activity">{say.stop.retainedLog}</Point>
          {grant.erasure === undefined && terms.retentionSeconds > 0 && (
            <Point icon="clock">{say.stop.retainedKept(recipient, format.duration(terms.retentionSeconds))}</Point>
          )}
          <Point icon="info">{say.stop.retainedLaw(recipient)}</Point>
        </ul>
      </Part>
      {failed && <ProblemNotice problem={failed} again={again} />}
      {open && (
        <div class="stack">
          {!online && (
            <Banner tone="warn" icon="offline">
              <p>{say.stop.queued}</p>
            </Banner>
          )}
          <div class="pair">
            <Button look="big stop" icon="stop" unable={cant} onClick={run(false)}>
              {say.stop.stopOnly}
            </Button>
            <Button look="big stop full" unable={cant} onClick={run(true)}>
              {say.stop.stopDelete}
            </Button>
          </div>
          <p class="small soft">{say.stop.deletes(recipient)}</p>
          {grant.state === 'active' && (
            <Button look="plain" icon="pause" unable={online ? cant : say.offline.needsNet} onClick={pause}>
              {say.stop.pauseInstead}
            </Button>
          )}
        </div>
      )}
      {!open && grant.erasure === undefined && grant.state !== 'superseded' && !grant.queued && (
        <Button look="big stop wide" unable={cant} onClick={run(true)}>
          {say.stop.deleteOnly}
        </Button>
      )}
      {begun && (
        <LinkButton href={to.home} look="plain" icon="home">
          {say.link.toHome}
        </LinkButton>
      )}
    </>
  )
}

export const Point = ({ icon, children }: { icon: 'stop' | 'minus' | 'info' | 'activity' | 'clock'; children: JSX.Element | string | (JSX.Element | string)[] }): JSX.Element => (
  <li>
    <Icon name={icon} size={18} />
    <span>{children}</span>
  </li>
)
