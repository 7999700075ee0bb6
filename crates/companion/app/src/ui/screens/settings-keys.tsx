import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AuthenticatorView, Settings } from '../../core/index.ts'
import { Icon } from '../components/icon'
import { Part } from '../components/page'
import { Banner, Button } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { Sheet } from '../components/sheet'
import { useAct, useApp } from '../context'

/** What opens the keys, or that nothing but this browser holds them. */
export function Passkeys({ settings }: { settings: Settings }): JSX.Element {
  const { say, status, format } = useApp()
  const [open, set] = useState<'add' | AuthenticatorView>()
  const close = () => set(undefined)
  if (status.keys === 'device')
    return (
      <Part title={say.settings.deviceKeys}>
        <Banner tone="warn" icon="key">
          <p>{say.settings.deviceKeysHint}</p>
        </Banner>
      </Part>
    )
  const last = settings.authenticators.length < 2
  return (
    <Part title={say.settings.passkeys} hint={say.settings.passkeysHint}>
      <ul class="rows">
        {settings.authenticators.map((key) => (
          <li key={key.id}>
            <span class="row">
              <Icon name="key" />
              <span class="grow">
                {key.label || say.settings.passkeys}
                <br />
                <span class="tiny soft">
                  {say.settings.added(format.date(key.addedAt))}
                  {key.thisDevice && ` · ${say.settings.thisDevice}`}
                </span>
              </span>
              <Button look="plain" label={`${say.settings.removePasskey}: ${key.label}`} unable={last ? say.settings.lastPasskey : undefined} onClick={() => set(key)}>
                {say.settings.removePasskey}
              </Button>
            </span>
          </li>
        ))}
      </ul>
      <Button icon="plus" onClick={() => set('add')}>
        {say.settings.addPasskey}
      </Button>
      {open === 'add' && <Add close={close} />}
      {typeof open === 'object' && <Remove passkey={open} close={close} />}
    </Part>
  )
}

function Add({ close }: { close: () => void }): JSX.Element {
  const { core, say, format, announce } = useApp()
  const [label, set] = useState(format.date(Date.now()))
  const { busy, failed, act } = useAct()
  const add = () =>
    act(async () => {
      await core.addAuthenticator(label.trim())
      announce(say.settings.passkeyAdded)
      close()
    })
  return (
    <Sheet title={say.settings.addPasskey} close={close} closeLabel={say.app.close}>
      <label class="field">
        <span>{say.settings.passkeyLabel}</span>
        <input type="text" maxLength={60} value={label} onInput={(event) => set(event.currentTarget.value)} />
      </label>
      {failed && <ProblemNotice problem={failed} />}
      <Button look="accent big wide" icon="key" onClick={add} unable={busy ? say.app.loading : label.trim() === '' ? say.settings.passkeyLabel : undefined}>
        {say.settings.addPasskey}
      </Button>
    </Sheet>
  )
}

function Remove({ passkey, close }: { passkey: AuthenticatorView; close: () => void }): JSX.Element {
  const { core, say, announce } = useApp()
  const { busy, failed, act } = useAct()
  const remove = () =>
    act(async () => {
      await core.removeAuthenticator(passkey.id)
      announce(say.settings.passkeyRemoved)
      close()
    })
  return (
    <Sheet title={say.settings.removePasskey} close={close} closeLabel={say.app.close}>
      <p>{say.settings.removeConfirm(passkey.label || say.settings.passkeys)}</p>
      {failed && <ProblemNotice problem={failed} />}
      <div class="pair">
        <Button look="big" onClick={close}>
          {say.app.cancel}
        </Button>
        <Button look="big stop" onClick={remove} unable={busy ? say.app.loading : undefined}>
          {say.settings.removePasskey}
        </Button>
      </div>
    </Sheet>
  )
}
