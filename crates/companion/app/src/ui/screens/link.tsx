import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { InvitationView, LinkView } from '../../core/index.ts'
import { Tile } from '../components/brand'
import { Page } from '../components/page'
import { Banner, Button, LinkButton, Step } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { useAct, useApp, useLoaded } from '../context'
import { hold, invitation } from '../invitation'
import { to } from '../router'

/** From a brand's invitation to a link that stands. */
export function Link(): JSX.Element {
  const { say } = useApp()
  const [text, setText] = useState(invitation())
  const [round, count] = useState(0)
  const set = (next: string | undefined) => {
    hold(next)
    setText(next)
    count(round + 1)
  }
  if (text === undefined) return <Paste open={set} />
  return (
    <Reading key={round} text={text} forget={() => set(undefined)} title={say.link.paste} />
  )
}

function Paste({ open }: { open: (text: string) => void }): JSX.Element {
  const { say } = useApp()
  const [text, set] = useState('')
  return (
    <Page title={say.link.paste} lead={<p>{say.link.pasteHint}</p>}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          if (text.trim()) open(text.trim())
        }}
      >
        <label class="field">
          <span>{say.link.pasteLabel}</span>
          <textarea rows={4} autocomplete="off" spellcheck={false} value={text} onInput={(event) => set(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button accent big">
          {say.link.open}
        </button>
      </form>
      <p class="small soft">{say.link.scanHint}</p>
      <p class="small soft">{say.home.linkHint}</p>
    </Page>
  )
}

function Reading({ text, title, forget }: { text: string; title: string; forget: () => void }): JSX.Element {
  const { core, say } = useApp()
  const loaded = useLoaded(() => core.readInvitation(text), [text], [])
  if (loaded.at === 'there') return <Invited invited={loaded.value} forget={forget} />
  return (
    <Page title={title}>
      {loaded.at === 'failed' ? (
        <ProblemNotice problem={loaded.problem} again={loaded.problem.kind === 'unreachable' ? loaded.again : undefined}>
          <Button onClick={forget}>{say.link.paste}</Button>
        </ProblemNotice>
      ) : (
        <Show loaded={loaded}>{() => <></>}</Show>
      )}
    </Page>
  )
}

function Invited({ invited, forget }: { invited: InvitationView; forget: () => void }): JSX.Element {
  const { core, say, format, announce, status } = useApp()
  const [link, setLink] = useState<LinkView>()
  const [rejected, reject] = useState(false)
  const { busy, failed, act } = useAct()
  const brand = invited.brand.displayName
  const accept = () =>
    act(async () => {
      const made = await core.acceptInvitation()
      setLink(made)
      announce(say.link.codeTitle(brand))
    })
  if (rejected)
    return (
      <Page title={say.link.title(brand)}>
        <p>{say.link.rejected}</p>
        <LinkButton href={to.home} icon="home">
          {say.link.toHome}
        </LinkButton>
      </Page>
    )
  return (
    <Page title={say.link.title(brand)} lead={!link && <p>{say.link.lead}</p>}>
      <div class="card">
        <span class="way">
          <Tile brand={invited.brand} />
          <span>
            <span class="small soft">{say.link.account}</span>
            <br />
            <span class="strong account">{invited.label}</span>
          </span>
        </span>
        {!link && <p class="small">{say.link.invited(brand)}</p>}
        {!link && <p class="small soft">{say.link.expires(format.time(invited.expires))}</p>}
      </div>
      {link ? (
        <Code link={link} forget={forget} />
      ) : (
        <>
          {invited.replaces && (
            <Banner tone="warn" icon="warn">
              <p>{say.link.replaces}</p>
            </Banner>
          )}
          <p>{say.link.knows(brand)}</p>
          {failed && <ProblemNotice problem={failed} />}
          <div class="pair">
            <Button
              look="big ink"
              onClick={() => {
                hold(undefined)
                reject(true)
              }}
            >
              {say.link.notMine}
            </Button>
            <Button look="big accent" onClick={accept} unable={!status.online ? say.offline.needsNet : busy ? say.link.accepting : undefined}>
              {say.link.accept}
            </Button>
          </div>
        </>
      )}
    </Page>
  )
}

/** The code that goes back into the brand's own session, and whether it has arrived. */
function Code({ link: first, forget }: { link: LinkView; forget: () => void }): JSX.Element {
  const { core, say, announce } = useApp()
  const loaded = useLoaded(() => core.links(), [], ['links'])
  const link = (loaded.at === 'there' ? loaded.value.find((one) => one.name === first.name) : undefined) ?? first
  const brand = link.brand.displayName
  const code = link.code || first.code
  const confirmed = link.state === 'confirmed'
  useEffect(() => {
    if (confirmed) {
      hold(undefined)
      announce(say.link.confirmed(brand))
    }
  }, [confirmed])
  if (link.state === 'lapsed' || link.state === 'ended')
    return (
      <ProblemNotice problem={{ kind: 'invitationExpired' }}>
        <Button onClick={forget}>{say.link.paste}</Button>
      </ProblemNotice>
    )
  return (
    <div class="stack">
      {!confirmed && (
        <section class="card code-card">
          <h2>{say.link.codeTitle(brand)}</h2>
          <p class="digits numbers" aria-label={Array.from(code).join(' ')}>
            {code.slice(0, 3)} {code.slice(3)}
          </p>
          <p class="small soft">{say.link.codeHint}</p>
          {link.returnTo && (
            <>
              <LinkButton href={link.returnTo} look="accent big wide" icon="arrow">
                {say.link.codeBack(brand)}
              </LinkButton>
              <p class="tiny soft">{say.link.codeBackHint(new URL(link.returnTo).host)}</p>
            </>
          )}
        </section>
      )}
      <ol class="steps card" aria-live="polite">
        <Step state={confirmed ? 'done' : 'now'} title={confirmed ? say.link.confirmed(brand) : say.link.waiting(brand)} />
      </ol>
      {confirmed && (
        <LinkButton href={to.home} look="accent big wide" icon="home">
          {say.link.toHome}
        </LinkButton>
      )}
    </div>
  )
}
