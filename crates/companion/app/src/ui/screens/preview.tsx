import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { FieldView, PreviewView, RequestView, RowView } from '../../core/index.ts'
import { Way } from '../components/brand'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Badge, Button, LinkButton, Term, Waiting } from '../components/parts'
import { ProblemNotice, Show } from '../components/problem'
import { ProofSheet } from '../components/proof'
import { useAct, useApp, useLoaded } from '../context'
import { to } from '../router'
import { valueText } from '../values'

/** Values that were looked at, for as long as the page is open: they are written nowhere. */
const looked = new Map<string, PreviewView>()

/** The values that would leave, where they come from, and what never leaves. */
export function Preview({ name }: { name: string }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.readRequest(name), [name, format], [])
  return (
    <Page title={say.preview.title} lead={<p>{say.preview.lead}</p>}>
      <Show loaded={loaded}>
        {(request) => (
          <div class="stack">
            {request.rows.map((row) => (
              <Values key={row.number} request={request} row={row} />
            ))}
            <p class="small soft">{say.preview.noted}</p>
          </div>
        )}
      </Show>
      <Part title={say.preview.never} hint={say.preview.neverHint}>
        <ul class="points card">
          {say.preview.neverList.map((what) => (
            <li key={what}>
              <Icon name="cross" size={18} />
              <span>{what}</span>
            </li>
          ))}
        </ul>
      </Part>
      <LinkButton href={to.request(name)} look="big accent wide" icon="back">
        {say.link.toRequest}
      </LinkButton>
    </Page>
  )
}

function Values({ request, row }: { request: RequestView; row: RowView }): JSX.Element {
  const { core, say, format, status, announce } = useApp()
  const key = `${request.name} ${row.number}`
  const [view, setView] = useState(looked.get(key))
  const [proof, show] = useState(false)
  const { busy, failed, act } = useAct()
  const what = say.app.gives(row.source.displayName, row.recipient.displayName)
  const unlinked = row.missing.some((brand) => brand.name === row.source.name)
  const look = () =>
    act(async () => {
      const seen = await core.preview(request, row.number, row.addable.filter((field) => !field.needsTap).map((field) => field.path))
      looked.set(key, seen)
      setView(seen)
      announce(say.preview.sealed(row.source.displayName))
    })
  const value = (field: FieldView): JSX.Element => {
    if (field.needsTap) return <span class="soft">{say.preview.tap}</span>
    if (view === undefined) return <span class="soft">{say.preview.hidden}</span>
    const found = view.values.find((one) => one.field.path === field.path)?.value
    return found === undefined || found === '' ? <span class="soft">{say.preview.absent}</span> : <span class="strong numbers">{valueText(found, format, say)}</span>
  }
  return (
    <section class="card" aria-label={what}>
      <div class="line apart">
        <Way source={row.source} recipient={row.recipient} />
        {row.optional && <Badge>{say.app.optional}</Badge>}
      </div>
      <dl class="terms values">
        {[...row.required, ...row.addable].map((field) => (
          <Term key={field.path} name={field.title}>
            {value(field)}
          </Term>
        ))}
      </dl>
      {busy && <Waiting label={say.app.loading} blocks={1} />}
      {failed && <ProblemNotice problem={failed} again={look} />}
      {view && (
        <div class="line">
          <span class="tiny soft">
            {say.preview.sealed(row.source.displayName)} {format.time(view.at)}
          </span>
          <button type="button" class="badge good" onClick={() => show(true)}>
            <Icon name="proof" size={16} />
            {say.timeline.proof}
          </button>
        </div>
      )}
      {!view && unlinked && <p class="small soft">{say.request.linkFirst(row.source.displayName)}</p>}
      {!view && !unlinked && !busy && !failed && (
        <Button icon="eye" onClick={look} unable={status.online ? undefined : say.offline.needsNet} label={`${say.preview.show}: ${what}`}>
          {say.preview.show}
        </Button>
      )}
      {proof && view && <ProofSheet handle={view.proof} close={() => show(false)} />}
    </section>
  )
}
