import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { ClosingView } from '../../core/index.ts'
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
  const { busy, failed, act } = useAct()
  // What could not be stopped stands on the screen that follows.
  const report = () =>
    act(async () => {
      await core.reportStolen()
      announce(say.settings.stolenDone)
    })
  return (
    <Sheet title={say.settings.stolen} close={close} closeLabel={say.app.close}>
      <p>{say.settings.stolenHint}</p>
      {failed && <ProblemNotice problem={failed} again={report} />}
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
      if (closing.state === 'waits') tell(closing)
      else announce(closing.state === 'closed' ? say.settings.closed : say.settings.closedUnproven)
    })
  return (
    <Sheet title={say.settings.closeAccount} close={close} closeLabel={say.app.close}>
      <p>{say.settings.closeHint}</p>
      {told && (
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
      <div class="pair">
        <Button look="big" onClick={told ? end(false) : close} unable={busy ? say.app.loading : undefined}>
          {told ? say.app.retry : say.app.cancel}
        </Button>
        <Button look="big stop full" onClick={end(told !== undefined)} unable={busy ? say.settings.closing : undefined}>
          {busy ? say.settings.closing : told ? say.settings.closeAnyway : say.settings.closeConfirm}
        </Button>
      </div>
    </Sheet>
  )
}
