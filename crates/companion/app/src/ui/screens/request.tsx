import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import type { ChosenRow, RequestView, RowView } from '../../core/index.ts'
import { Way } from '../components/brand'
import { Page } from '../components/page'
import { Badge, Banner, Button, LinkButton, Switch } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { Phone, TermsList } from '../components/terms'
import { useAct, useApp, useLoaded } from '../context'
import { addField, changeOf, draftOf, forgetDraft, include, included, isChanged, keepDraft, type Draft } from '../draft'
import { back, go, to } from '../router'
import { SeenLine } from './home'
import { Changing } from './request-change'

/** What a brand asks, a row for each grant that would come of it. */
export function Request({ name }: { name: string }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.readRequest(name), [name, format], ['requests', 'links'])
  if (loaded.at === 'there') return <Answer request={loaded.value} again={loaded.again} />
  return (
    <Page title={say.home.waiting}>
      <Show loaded={loaded}>{() => <></>}</Show>
    </Page>
  )
}

function Answer({ request, again }: { request: RequestView; again: () => void }): JSX.Element {
  const { say } = useApp()
  const open = request.state === 'requested' || request.state === 'deferred'
  const lead = (
    <>
      <p>{say.request.lead}</p>
      <p class="small">{say.request.asker(request.requester.displayName)}</p>
    </>
  )
  return (
    <Page title={say.request.title(request.requester.displayName)} lead={open && lead}>
      <SeenLine />
      {open ? <Rows request={request} again={again} /> : <Gone request={request} />}
    </Page>
  )
}

function Gone({ request }: { request: RequestView }): JSX.Element {
  const { say } = useApp()
  const { gone } = say.request
  const text = request.state === 'cancelled' ? gone.cancelled(request.requester.displayName) : request.state === 'requested' || request.state === 'deferred' ? '' : gone[request.state]
  return (
    <div class="card">
      <p>{text}</p>
      <div class="actions">
        {request.state === 'approved' && <LinkButton href={to.receipt(request.name)}>{say.receipt.title}</LinkButton>}
        <LinkButton href={to.home} icon="home">
          {say.nav.home}
        </LinkButton>
      </div>
    </div>
  )
}

function Rows({ request, again }: { request: RequestView; again: () => void }): JSX.Element {
  const { core, say, format, announce, status } = useApp()
  const [draft, setDraft] = useState(() => draftOf(request))
  const [changing, change] = useState(false)
  const { busy, failed, act } = useAct()
  const set = (next: Draft) => setDraft(keepDraft(request.name, next))
  // What is drawn is what would be signed: the core makes the bytes of these very rows.
  const everything = { ...draft, rows: request.rows.filter((row) => row.optional).map((row) => row.number) }
  const drawn = useMemo(() => new Map(core.choose(request, everything).map((row) => [row.number, row])), [request, draft])
  const taken = request.rows.filter((row) => included(draft, row))
  const missing = [...new Map(taken.flatMap((row) => row.missing).map((brand) => [brand.name, brand])).values()]
  const cant = !status.online ? say.offline.needsNet : busy ? say.app.loading : undefined
  const approve = () =>
    act(async () => {
      await core.approve(request, draft)
      forgetDraft(request.name)
      announce(say.request.approved)
      go(to.receipt(request.name), 'replace')
    })
  const end = (what: () => Promise<void>, said: string) => () =>
    act(async () => {
      await what()
      announce(said)
      back()
    })
  return (
    <>
      <ol class="stack">
        {request.rows.map((row) => {
          const limits = drawn.get(row.number)
          return (
            <li key={row.number}>
              {limits && <Row row={row} count={request.rows.length} limits={limits} draft={draft} set={set} />}
            </li>
          )
        })}
      </ol>
      <LinkButton href={to.preview(request.name)} icon="eye" look="wide">
        {say.request.seeData}
      </LinkButton>
      <div class="stack tight small">
        <p>{say.request.questions}</p>
        <ul class="phones">
          {phones(request).map(({ brand, phone }) => (
            <li key={brand}>
              {brand} <Phone phone={phone} />
            </li>
          ))}
        </ul>
        <p class="soft">{say.request.checked}</p>
        <p class="soft">{say.request.silence}</p>
      </div>
      <div class="foot">
        {missing.map((brand) => (
          <Banner key={brand.name} tone="warn" icon="key">
            <p>{say.request.linkFirst(brand.displayName)}</p>
          </Banner>
        ))}
        {failed && <ProblemNotice problem={failed} again={failed.kind === 'refused' || failed.kind === 'notNow' ? again : undefined} />}
        <p class="tiny soft" role="status">
          {busy ? say.request.approving : `${say.request.approveCount(taken.length)} · ${say.home.answerBy(format.moment(request.expires))}`}
        </p>
        <div class="pair">
          <Button look="big ink" unable={cant} onClick={end(() => core.refuse(request.name), say.request.declined(request.requester.displayName))}>
            {say.request.decline}
          </Button>
          <Button
            look="big accent"
            unable={cant ?? (taken.length === 0 ? say.request.approveCount(0) : missing[0] && say.request.linkFirst(missing[0].displayName))}
            onClick={approve}
          >
            {say.request.approve}
          </Button>
        </div>
        <div class="pair">
          <Button look="plain" icon="edit" onClick={() => change(true)}>
            {say.request.change}
          </Button>
          <Button look="plain" icon="clock" unable={cant} onClick={end(() => core.defer(request.name), say.request.deferred)}>
            {say.request.notNow}
          </Button>
        </div>
      </div>
      {changing && <Changing request={request} draft={draft} set={set} close={() => change(false)} />}
    </>
  )
}

/** Each asking brand's number, once. */
function phones(request: RequestView): { brand: string; phone: string }[] {
  return [...new Map(request.rows.map((row) => [row.contactPhone, { brand: row.recipient.displayName, phone: row.contactPhone }])).values()]
}

function Row({ row, count, limits, draft, set }: { row: RowView; count: number; limits: ChosenRow; draft: Draft; set: (draft: Draft) => void }): JSX.Element {
  const { say } = useApp()
  const on = included(draft, row)
  return (
    <article class={`card ${on ? '' : 'off'}`} aria-label={say.app.gives(row.source.displayName, row.recipient.displayName)}>
      <div class="line apart">
        <span class="tiny soft">{say.request.row(row.number, count)}</span>
        <span class="line">
          {isChanged(draft, row) && (
            <Badge tone="accent" icon="edit">
              {say.request.changing.changed}
            </Badge>
          )}
          {row.optional && <Badge>{say.app.optional}</Badge>}
        </span>
      </div>
      <Way source={row.source} recipient={row.recipient} />
      {row.renews && <p class="small soft">{say.request.renews}</p>}
      <TermsList terms={row} limits={limits} />
      {row.optional && (
        <Switch on={on} set={(next) => set(include(draft, row, next))}>
          <span class="strong">{say.request.include}</span>
        </Switch>
      )}
      {on &&
        row.addable.map((field) => (
          <Switch
            key={field.path}
            on={changeOf(draft, row).fields?.includes(field.path) === true}
            set={(next) => set(addField(draft, row, field.path, next))}
            note={field.provenance === 'observed' ? say.terms.observed(row.source.displayName) : undefined}
          >
            {say.request.addField(field.title)}
          </Switch>
        ))}
    </article>
  )
}
