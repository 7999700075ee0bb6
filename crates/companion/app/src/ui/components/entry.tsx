import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { GrantView, TimelineEntry } from '../../core/index.ts'
import { useApp } from '../context'
import { entryGroup, entryText, reasonText } from '../entries'
import { to } from '../router'
import { Icon, type IconName } from './icon'
import { LinkButton } from './parts'
import { ProofSheet } from './proof'
import { Sheet } from './sheet'
import { Phone } from './terms'

const DRAWN: Record<ReturnType<typeof entryGroup>, IconName> = { transfers: 'arrow', refusals: 'cross', changes: 'info' }

/** One record, with its live proof and a way to say that it felt wrong. */
export function Entry({ entry, grant }: { entry: TimelineEntry; grant: GrantView | undefined }): JSX.Element {
  const { say, format } = useApp()
  const [open, set] = useState<'proof' | 'wrong'>()
  const group = entryGroup(entry)
  const text = entryText(entry, say)
  const facts = [format.time(entry.at), entry.purpose?.title, entry.useNumber > 0 && say.timeline.use(format.number(entry.useNumber))]
  return (
    <li>
      <div class={`row entry ${group}`}>
        <span class="dot" aria-hidden="true">
          <Icon name={DRAWN[group]} size={16} />
        </span>
        <div class="grow stack tight">
          <p>{text}</p>
          {entry.reason && <p class="small reason">{reasonText(entry.reason, say)}</p>}
          {entry.fields.length > 0 && <p class="small">{format.list(entry.fields.map((field) => field.title))}</p>}
          <p class="tiny soft numbers">{facts.filter((fact) => typeof fact === 'string').join(' · ')}</p>
          <div class="line">
            <button type="button" class="badge good" aria-label={`${say.timeline.proof}: ${text}`} onClick={() => set('proof')}>
              <Icon name="proof" size={16} />
              {say.timeline.proof}
            </button>
            {group !== 'changes' && (
              <button type="button" class="button plain" aria-label={`${say.timeline.wrong}: ${text}`} onClick={() => set('wrong')}>
                {say.timeline.wrong}
              </button>
            )}
          </div>
        </div>
      </div>
      {open === 'proof' && <ProofSheet handle={entry.proof} close={() => set(undefined)} />}
      {open === 'wrong' && <Wrong entry={entry} grant={grant} close={() => set(undefined)} />}
    </li>
  )
}

/** Whom to talk to about a record, and how to end what it hangs on. */
function Wrong({ entry, grant, close }: { entry: TimelineEntry; grant: GrantView | undefined; close: () => void }): JSX.Element {
  const { say } = useApp()
  const brand = entry.recipient ?? entry.source
  const phone = grant?.terms.contactPhone ?? brand?.phone
  return (
    <Sheet title={say.timeline.wrongTitle} close={close} closeLabel={say.app.close}>
      <p>{entryText(entry, say)}</p>
      <p>{say.timeline.wrongLead(brand?.displayName ?? '')}</p>
      <p class="strong numbers">{say.timeline.entryNumber(String(entry.index))}</p>
      {phone && (
        <p>
          {brand?.displayName}: <Phone phone={phone} />
        </p>
      )}
      {grant && (
        <>
          <LinkButton href={to.stop(grant.name)} icon="stop" look="stop wide">
            {say.home.stop}
          </LinkButton>
          <LinkButton href={to.grant(grant.name)} icon="pause" look="wide">
            {say.home.pause}
          </LinkButton>
          <p class="small soft">{say.timeline.complain(grant.terms.complaintBody)}</p>
        </>
      )}
    </Sheet>
  )
}
