import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { ReceiptRow, ReceiptView } from '../../core/index.ts'
import { Way } from '../components/brand'
import { Icon } from '../components/icon'
import { Page, Part } from '../components/page'
import { Badge, Button, LinkButton } from '../components/parts'
import { ProofSheet } from '../components/proof'
import { ProblemNotice, Show } from '../components/problem'
import { Brand, kept, Phone, TermsList } from '../components/terms'
import { useAct, useApp, useLoaded, type App } from '../context'
import { saveBlob } from '../files'
import { to } from '../router'

/** A plain copy of what was approved, with its codes and how to stop. */
export function Receipt({ name }: { name: string }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.receipt(name), [name, format], [])
  return (
    <Page title={say.receipt.title}>
      <Show loaded={loaded}>{(receipt) => <Copy receipt={receipt} />}</Show>
    </Page>
  )
}

function Copy({ receipt }: { receipt: ReceiptView }): JSX.Element {
  const app = useApp()
  const { say, format, announce } = app
  const { failed, act } = useAct()
  const canShare = typeof navigator.share === 'function'
  const share = async () => {
    const text = plain(receipt, app)
    // A sheet that the person closes again is no failure.
    if (canShare) return navigator.share({ title: say.receipt.title, text }).catch(() => undefined)
    await navigator.clipboard.writeText(text)
    announce(say.app.copied)
  }
  const save = async () => {
    saveBlob(`${say.receipt.file}.json`, await receipt.file())
    announce(say.receipt.saved)
  }
  return (
    <>
      <p class="line">
        <Badge tone="good" icon="check">
          {say.request.approved}
        </Badge>
        <span class="soft small">{say.receipt.lead(format.moment(receipt.approvedAt))}</span>
      </p>
      <div class="stack">
        {receipt.rows.map((row) => (
          <One key={row.grant} row={row} />
        ))}
      </div>
      {failed && <ProblemNotice problem={failed} />}
      <div class="pair">
        <Button icon="save" onClick={() => act(save)}>
          {say.receipt.save}
        </Button>
        <Button icon={canShare ? 'share' : 'copy'} onClick={() => act(share)}>
          {canShare ? say.receipt.share : say.app.copy}
        </Button>
      </div>
      <Part title={say.receipt.how} hint={say.receipt.howText}>
        <ul class="rows">
          {receipt.rows.map(({ grant, terms }) => (
            <li key={grant}>
              <a href={to.stop(grant)}>
                <Icon name="stop" />
                <span class="grow">
                  <Way source={terms.source} recipient={terms.recipient} tiles={false} />
                </span>
                <Icon name="chevron" />
              </a>
            </li>
          ))}
        </ul>
      </Part>
      <LinkButton href={to.home} look="wide" icon="home">
        {say.link.toHome}
      </LinkButton>
    </>
  )
}

function One({ row }: { row: ReceiptRow }): JSX.Element {
  const { say } = useApp()
  const { terms } = row
  const [proof, show] = useState(false)
  return (
    <article class="card" aria-label={say.app.gives(terms.source.displayName, terms.recipient.displayName)}>
      <div class="line apart">
        <Way source={terms.source} recipient={terms.recipient} />
        <button type="button" class="badge good" onClick={() => show(true)}>
          <Icon name="proof" size={16} />
          {say.receipt.check}
        </button>
      </div>
      <p>
        <Brand text={terms.text.benefit} language={terms.text.language} />
      </p>
      <div class="slip">
        <p class="line apart">
          <span class="small soft">{say.receipt.code}</span>
          <span class="code strong">{row.code}</span>
        </p>
        <p class="tiny soft">{say.receipt.codeHint}</p>
        <p>
          <Phone phone={terms.contactPhone} />
        </p>
      </div>
      <details>
        <summary>
          <Icon name="chevron" size={16} />
          {say.receipt.signed}
        </summary>
        <TermsList terms={terms} limits={{ fields: row.fields, uses: terms.uses, retentionSeconds: terms.retentionSeconds, expires: row.expires }} />
      </details>
      {proof && <ProofSheet handle={row.proof} close={() => show(false)} />}
    </article>
  )
}

/** The receipt as text, for whatever a person keeps such things in. */
export function plain(receipt: ReceiptView, { say, format }: Pick<App, 'say' | 'format'>): string {
  const one = ({ terms, fields, expires, code, proof }: ReceiptRow): string => {
    const lines: [string, string][] = [
      [say.receipt.code, code],
      [say.terms.gets, terms.text.benefit],
      [say.terms.what, format.list(fields.map((field) => field.title))],
      [say.terms.why, terms.text.reason],
      [say.terms.usedFor, terms.purpose.title],
      [say.terms.until, `${terms.text.ends}; ${say.terms.latest(format.exact(expires))}`],
      [say.terms.often, say.terms.times(terms.uses)],
      [say.terms.kept, kept(terms.retentionSeconds, say, format)],
      [say.terms.passedOn, say.terms.passedOnNot],
      [say.terms.law, terms.law],
      [say.terms.controller, terms.controller],
      [say.terms.complaint, terms.complaintBody],
      [say.terms.person, terms.contactPhone],
      [say.proof.index, String(proof.index)],
    ]
    return [`${terms.source.displayName} → ${terms.recipient.displayName}`, ...lines.map(([name, value]) => `${name}: ${value}`)].join('\n')
  }
  return [`${say.app.name}: ${say.receipt.title}`, say.receipt.lead(format.exact(receipt.approvedAt)), ...receipt.rows.map(one), say.receipt.howText].join('\n\n')
}
