import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { Button, Choices, Stepper, Switch } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { Sheet } from '../components/sheet'
import { useAct, useApp } from '../context'
import { keeps, shorter } from '../draft'
import type { GrantView, Narrowing as Less } from '../../core/index.ts'
import { go, to } from '../router'

/** Narrower terms in the place of these: they end sooner, are used less, are kept for less, or hold fewer fields. */
export function Narrowing({ grant, close }: { grant: GrantView; close: () => void }): JSX.Element {
  const { core, say, format, announce } = useApp()
  const { terms } = grant
  const [now] = useState(() => Date.now())
  const left = terms.uses - grant.useCount
  const [expires, setExpires] = useState(grant.expires)
  const [uses, setUses] = useState(left)
  const [retentionSeconds, setRetention] = useState(terms.retentionSeconds)
  const [fields, setFields] = useState(grant.fields.map((field) => field.path))
  const { busy, failed, act } = useAct()
  const ends = [grant.expires, ...shorter(Math.floor((grant.expires - now) / 1000)).slice(1).map((seconds) => now + seconds * 1000)]
  const changing = say.request.changing
  const less = expires < grant.expires || uses < left || retentionSeconds < terms.retentionSeconds || fields.length < grant.fields.length
  const submit = () =>
    act(async () => {
      const changed: Less = {
        ...(fields.length < grant.fields.length && { fields }),
        ...(uses < left && { uses }),
        ...(retentionSeconds < terms.retentionSeconds && { retentionSeconds }),
        ...(expires < grant.expires && { expires }),
      }
      const { name } = await core.narrow(grant.name, changed)
      announce(say.grant.narrowed)
      close()
      go(to.grant(name), 'replace')
    })
  return (
    <Sheet title={say.grant.shortenTitle} close={close} closeLabel={say.app.close}>
      <p class="soft">{say.grant.shortenLead}</p>
      {ends.length > 1 && (
        <Choices
          legend={changing.until}
          name="narrow-until"
          options={ends.map((time) => ({ value: time, label: format.moment(time) }))}
          value={expires}
          set={setExpires}
        />
      )}
      {left > 1 && (
        <Stepper label={changing.uses} value={uses} least={1} most={left} set={setUses} fewer={changing.fewer} more={changing.moreTimes} say={format.number} />
      )}
      {terms.retentionSeconds > 0 && (
        <Choices
          legend={changing.kept}
          name="narrow-kept"
          options={keeps(terms.retentionSeconds).map((seconds) => ({ value: seconds, label: seconds === 0 ? say.terms.keptNot : format.duration(seconds) }))}
          value={retentionSeconds}
          set={setRetention}
        />
      )}
      {grant.fields.length > 1 && (
        <fieldset class="choices">
          <legend>{say.terms.what}</legend>
          {grant.fields.map((field) => (
            <Switch
              key={field.path}
              on={fields.includes(field.path)}
              unable={fields.length === 1 && fields.includes(field.path)}
              set={(on) => setFields(grant.fields.map((one) => one.path).filter((path) => (path === field.path ? on : fields.includes(path))))}
            >
              {field.title}
            </Switch>
          ))}
        </fieldset>
      )}
      {failed && <ProblemNotice problem={failed} />}
      <p class="tiny soft">{say.request.unlock}</p>
      <Button look="accent big wide" unable={busy ? say.app.loading : less ? undefined : say.grant.shortenLead} onClick={submit}>
        {say.grant.shortenTitle}
      </Button>
    </Sheet>
  )
}
