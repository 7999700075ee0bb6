import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { Way } from '../components/brand'
import { Page, Part } from '../components/page'
import { Banner, Button, LinkButton } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { StopSteps } from '../components/stopping'
import { useAct, useApp, useLoaded } from '../context'
import type { CoreError, GrantView } from '../../core/index.ts'
import { stands, stopOf } from '../components/terms'
import { to } from '../router'
import { Point } from './stop'

/** Everything at once, and how far each brand has come with it. */
export function StopAll(): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.grants(), [format], ['grants'])
  return (
    <Page title={say.stop.titleAll}>
      <Show loaded={loaded}>{(grants) => <All grants={grants} again={loaded.again} />}</Show>
    </Page>
  )
}

function All({ grants, again }: { grants: readonly GrantView[]; again: () => void }): JSX.Element {
  const { core, say, announce, status } = useApp()
  const { online } = status
  const { busy, failed, act } = useAct()
  const [list, setList] = useState<CoreError>()
  const standing = grants.filter((grant) => stands(grant) && stopOf(grant) === undefined)
  const stopped = grants.filter((grant) => stopOf(grant) !== undefined || grant.erasure !== undefined)
  const done = stopped.filter((grant) => stopOf(grant)?.state === 'stopped').length
  const run = (erase: boolean) => () =>
    act(async () => {
      const told = await core.stopAll({ erase })
      setList(told.list)
      announce(online ? say.stop.recorded : say.stop.queued)
      again()
    })
  const cant = busy ? say.app.loading : undefined
  return (
    <>
      {failed && <ProblemNotice problem={failed} again={again} />}
      {list && (
        <>
          <Banner tone="stop" icon="warn">
            <p>{say.stop.listWarning}</p>
          </Banner>
          <ProblemNotice problem={list} />
        </>
      )}
      {standing.length > 0 ? (
        <>
          <Part title={say.stop.what}>
            <ul class="points">
              <Point icon="stop">{say.stop.nothingMoreAll(standing.length)}</Point>
              <Point icon="info">{say.stop.noReopen}</Point>
            </ul>
            <ul class="rows">
              {standing.map((grant) => (
                <li key={grant.name}>
                  <span class="row">
                    <Way source={grant.terms.source} recipient={grant.terms.recipient} />
                  </span>
                </li>
              ))}
            </ul>
          </Part>
          <Part title={say.stop.retained}>
            <ul class="points">
              <Point icon="activity">{say.stop.retainedLog}</Point>
              <Point icon="info">{say.stop.retainedLawAll}</Point>
            </ul>
          </Part>
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
        </>
      ) : (
        stopped.length === 0 && <p>{say.stop.none}</p>
      )}
      {stopped.length > 0 && (
        <Part title={say.stop.progress} hint={say.stop.all(done, stopped.length)}>
          {stopped.map((grant) => (
            <section key={grant.name} class="stack tight" aria-label={say.app.gives(grant.terms.source.displayName, grant.terms.recipient.displayName)}>
              <Way source={grant.terms.source} recipient={grant.terms.recipient} />
              <StopSteps grant={grant} />
            </section>
          ))}
        </Part>
      )}
      <LinkButton href={to.home} look="plain" icon="home">
        {say.link.toHome}
      </LinkButton>
    </>
  )
}
