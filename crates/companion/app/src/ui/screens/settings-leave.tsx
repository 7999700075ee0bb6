import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { ClosingView, StopAllView } from '../../core/index.ts'
import { Icon } from '../components/icon'
import { Part } from '../components/page'
import { Banner, Button } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { Sheet } from '../components/sheet'
import { useAct, useApp } from '../context'
import { saveBlob } from '../files'

/** Everything as a file, stolen keys, and the end of the account. */
export function Leaving(): JSX.Element {
  const { core, say, announce, status } = useApp()
  const [open, set] = useState<'stolen' | 'close'>()
  const { busy, failed, act } = useAct()
  const cant = !status.online ? say.offline.needsNet : busy ? say.settings.exporting : undefined
  const save = () =>
    act(async () => {
      saveBlob('countersign-export.zip', await core.exportAll())
      announce(say.settings.exported)
    })
  const lead = (icon: 'save' | 'warn' | 'cross', title: string, hint: string, onClick: () => void) => (
    <li>
      <button type="button" onClick={onClick}>
        <Icon name={icon} />
        <span class="grow">
          {title}
          <br />
          <span class="tiny soft">{hint}</span>
        </span>
        <Icon name="chevron" />
      </button>
    </li>
  )
  return (
    <Part title={say.settings.leave}>
      <ul class="rows">
        {lead('save', say.settings.export, cant ?? say.settings.exportHint, () => cant === undefined && save())}
        {lead('warn', say.settings.stolen, say.settings.stolenHint, () => set('stolen'))}
        {lead('cross', say.settings.closeAccount, say.settings.closeHint, () => set('close'))}
      </ul>
      {failed && <ProblemNotice problem={failed} again={save} />}
      {open === 'stolen' && <Stolen close={() => set(undefined)} />}
      {open === 'close' && <Closing close={() => set(undefined)} />}
    </Part>
  )
}

function Stolen({ close }: { close: () => void }): JSX.Element {
  const { core, say, announce } = useApp()
  const [told, tell] = useState<StopAllView>()
  const { busy, failed, act } = useAct()
  const report = () =>
    act(async () => {
      const stopped = await core.reportStolen()
      announce(say.settings.stolenDone)
      if (stopped.list || stopped.each.some(({ error }) => error)) tell(stopped)
      else close()
    })
  return (
    <Sheet title={say.settings.stolen} close={close} closeLabel={say.app.close}>
      <p>{say.settings.stolenHint}</p>
      {failed && <ProblemNotice problem={failed} again={report} />}
      {told?.list && <ProblemNotice problem={told.list} />}
      {told?.each.map(({ grant, error }) => error && <ProblemNotice key={grant} problem={error} />)}
      <div class="pair">
        <Button look="big" onClick={close}>
          {say.app.cancel}
        </Button>
        <Button look="big stop full" onClick={report} unable={busy ? say.app.loading : undefined}>
          {say.settings.stolenConfirm}
        </Button>
      </div>
    </Sheet>
  )
}

function Closing({ close }: { close: () => void }): JSX.Element {
  const { core, say, announce } = useApp()
  const [told, tell] = useState<ClosingView>()
  const { busy, failed, act } = useAct()
  const end = (anyway: boolean) => () =>
    act(async () => {
      const closing = await core.closeAccount({ anyway })
      tell(closing)
      if (closing.state !== 'waits') announce(closing.state === 'closed' ? say.settings.closed : say.settings.closedUnproven)
    })
  const waits = told?.state === 'waits'
  return (
    <Sheet title={say.settings.closeAccount} close={close} closeLabel={say.app.close}>
      {told && !waits ? (
        <Banner tone={told.state === 'closed' ? 'good' : 'warn'} icon={told.state === 'closed' ? 'check' : 'warn'}>
          <p>{told.state === 'closed' ? say.settings.closed : say.settings.closedUnproven}</p>
        </Banner>
      ) : (
        <p>{say.settings.closeHint}</p>
      )}
      {waits && (
        <Banner tone="warn" icon="clock">
          <p>{say.settings.closeWaits}</p>
          <ul>
            {[...new Set(told.unheard.map(({ brand }) => brand.displayName))].map((brand) => (
              <li key={brand}>{brand}</li>
            ))}
          </ul>
        </Banner>
      )}
      {told?.list && <ProblemNotice problem={told.list} />}
      {told?.notStopped.map(({ grant, error }) => (
        <ProblemNotice key={grant} problem={error} />
      ))}
      {failed && <ProblemNotice problem={failed} />}
      {(!told || waits) && (
        <div class="pair">
          <Button look="big" onClick={waits ? end(false) : close} unable={busy ? say.app.loading : undefined}>
            {waits ? say.app.retry : say.app.cancel}
          </Button>
          <Button look="big stop full" onClick={end(waits)} unable={busy ? say.app.loading : undefined}>
            {waits ? say.settings.closeAnyway : say.settings.closeConfirm}
          </Button>
        </div>
      )}
    </Sheet>
  )
}
