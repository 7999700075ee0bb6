import type { JSX } from 'preact'
import type { FieldView, GrantView, TermsView } from '../../core/index.ts'
import { useApp } from '../context'
import { Icon } from './icon'
import { Badge, Term } from './parts'

export interface Limits {
  readonly fields: readonly FieldView[]
  readonly uses: number
  readonly retentionSeconds: number
  /** When it ends at the latest. */
  readonly expires: number
}

/** What the person reads before a yes: what, why, what for, until when, how often, kept how long, under which law. */
export function TermsList({ terms, limits }: { terms: TermsView; limits: Limits }): JSX.Element {
  const { say, format } = useApp()
  const { text, rate } = terms
  const { uses } = limits
  const often = rate && rate.uses < uses ? say.terms.timesPer(uses, rate.uses, format.duration(rate.windowSeconds)) : say.terms.times(uses)
  return (
    <>
      <div class="gets">
        <p class="tiny soft">{say.terms.gets}</p>
        <p class="lead">
          <Brand text={text.benefit} language={text.language} />
        </p>
      </div>
      <dl class="terms">
        <Term name={say.terms.what}>
          <ul>
            {limits.fields.map((field) => (
              <li key={field.path}>
                {field.title}
                {field.provenance === 'observed' && <Note>{say.terms.observed(terms.source.displayName)}</Note>}
                {field.needsTap && <Note>{say.terms.tapOnly}</Note>}
              </li>
            ))}
          </ul>
        </Term>
        <Term name={say.terms.why}>
          <Brand text={text.reason} language={text.language} />
          <br />
          <span class="soft">{terms.purpose.title}</span>
        </Term>
        <Term name={say.terms.until}>
          <Brand text={text.ends} language={text.language} />
          <br />
          <span class="soft">{say.terms.latest(format.moment(limits.expires))}</span>
        </Term>
        <Term name={say.terms.often}>{often}</Term>
        <Term name={say.terms.kept}>{kept(limits.retentionSeconds, say, format)}</Term>
        <Term name={say.terms.law}>{terms.law}</Term>
      </dl>
      {text.fallback && <p class="tiny soft">{say.app.written(format.languageName(text.language))}</p>}
      <details>
        <summary>
          <Icon name="chevron" size={16} />
          {say.terms.responsible}
        </summary>
        <dl class="terms">
          <Term name={say.terms.passedOn}>{say.terms.passedOnNot}</Term>
          <Term name={say.terms.controller}>{terms.controller}</Term>
          <Term name={say.terms.complaint}>{terms.complaintBody}</Term>
          <Term name={say.terms.person}>
            <Phone phone={terms.contactPhone} />
          </Term>
        </dl>
      </details>
    </>
  )
}

type AppParts = Pick<ReturnType<typeof useApp>, 'say' | 'format'>

export const kept = (seconds: number, say: AppParts['say'], format: AppParts['format']): string =>
  seconds === 0 ? say.terms.keptNot : say.terms.keptAfter(format.duration(seconds))

/** A brand's own words, in the language that they are in. */
export const Brand = ({ text, language }: { text: string; language: string }): JSX.Element => <span lang={language}>{text}</span>

export const Note = ({ children }: { children: string }): JSX.Element => (
  <span class="note">
    <Icon name="info" size={14} /> {children}
  </span>
)

/** A number that is called with one tap. */
export const Phone = ({ phone }: { phone: string }): JSX.Element => (
  <a class="phone numbers" href={`tel:${phone.replace(/[^+\d]/g, '')}`}>
    {phone}
  </a>
)

export const grantLimits = (grant: GrantView): Limits => ({
  fields: grant.fields,
  uses: grant.terms.uses,
  retentionSeconds: grant.terms.retentionSeconds,
  expires: grant.expires,
})

/** Whether a grant can still come to move data. */
export const stands = ({ state }: GrantView): boolean => state === 'active' || state === 'paused' || state === 'suspended' || state === 'unconfirmed'

/** A stop of this grant that has begun. */
export const stopOf = (grant: GrantView): GrantView['stop'] => (grant.stop?.verb === 'stop' ? grant.stop : undefined)

/** Where a grant stands, in a word. */
export function StateBadge({ grant }: { grant: GrantView }): JSX.Element {
  const { say } = useApp()
  if (grant.erasure?.overdue) return <Badge tone="stop" icon="warn">{say.home.overdue}</Badge>
  if (grant.queued) return <Badge tone="warn" icon="offline">{say.states.queued}</Badge>
  if (grant.state === 'active') return <Badge tone="good" icon="check">{say.states.active}</Badge>
  return (
    <Badge tone={stands(grant) ? 'warn' : 'plain'} icon={stands(grant) ? 'pause' : 'stop'}>
      {say.states[grant.state]}
    </Badge>
  )
}
