import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { GrantView, StopProgress } from '../../core/index.ts'
import { useApp } from '../context'
import { Icon } from './icon'
import { Step } from './parts'
import { ProblemNotice } from './problem'
import { ProofSheet } from './proof'
import { Phone, stopOf } from './terms'

/** How far a stop and a deletion have come, step by step, as it goes on. */
export function StopSteps({ grant }: { grant: GrantView }): JSX.Element {
  const { core, say, format } = useApp()
  const [heard, hear] = useState<StopProgress>()
  const [proof, show] = useState(false)
  const begun = stopOf(grant)
  useEffect(() => (begun ? core.follow(grant.name, hear) : undefined), [grant.name, begun?.state])
  const stop = heard?.verb === 'stop' ? heard : begun
  const { erasure } = grant
  const source = grant.terms.source.displayName
  const recipient = grant.terms.recipient.displayName
  const recorded = stop && stop.state !== 'queued' && stop.state !== 'sending' && stop.state !== 'refused'
  return (
    <div class="card" aria-live="polite">
      <ol class="steps">
        {stop?.state === 'queued' && (
          <Step state="late" title={say.states.queued}>
            {say.stop.queued}
          </Step>
        )}
        {stop?.state === 'sending' && <Step state="now" title={say.stop.sending} />}
        {stop?.state === 'refused' && (
          <Step state="late" title={say.stop.refused}>
            <p>{say.stop.refusedHint(source)}</p>
          </Step>
        )}
        {recorded && (
          <Step state="done" title={say.stop.recorded}>
            <p>{say.stop.recordedHint}</p>
            {stop.proof && (
              <button type="button" class="badge good" onClick={() => show(true)}>
                <Icon name="proof" size={16} />
                {say.receipt.check}
              </button>
            )}
          </Step>
        )}
        {stop?.state === 'stopped' && (
          <Step state="done" title={say.stop.stopped}>
            <p>
              {say.stop.stoppedHint(source)} {stop.at !== undefined && <span class="numbers">{format.moment(stop.at)}</span>}
            </p>
          </Step>
        )}
        {stop?.state === 'notConfirmed' && (
          <Step state="late" title={say.stop.notConfirmed(source)}>
            <p>{say.stop.notConfirmedHint(source)}</p>
            {grant.terms.source.phone && (
              <p>
                {source}: <Phone phone={grant.terms.source.phone} />
              </p>
            )}
          </Step>
        )}
        {(stop?.state === 'recorded' || stop?.state === 'sending') && <Step state={stop.state === 'recorded' ? 'now' : 'open'} title={say.stop.awaiting(source)} />}
        {erasure && (
          <Step
            state={erasure.attestedAt !== undefined ? 'done' : erasure.overdue ? 'late' : 'now'}
            title={
              erasure.attestedAt !== undefined
                ? say.stop.attested(recipient)
                : erasure.overdue
                  ? say.stop.overdue(recipient, format.moment(erasure.due))
                  : say.stop.due(recipient, format.moment(erasure.due))
            }
          >
            {erasure.attestedAt !== undefined && <p>{say.stop.attestedAt(format.moment(erasure.attestedAt))}</p>}
            {erasure.overdue && erasure.attestedAt === undefined && (
              <>
                <p>{say.stop.overdueHint(recipient)}</p>
                <p>
                  {recipient}: <Phone phone={grant.terms.contactPhone} />
                </p>
                <p>
                  {say.terms.complaint}: {grant.terms.complaintBody}
                </p>
              </>
            )}
          </Step>
        )}
      </ol>
      {stop?.error && <ProblemNotice problem={stop.error} />}
      {proof && stop?.proof && <ProofSheet handle={stop.proof} close={() => show(false)} />}
    </div>
  )
}
