import type { JSX } from 'preact'
import { Icon, Mark } from '../components/icon'
import { Page } from '../components/page'
import { Banner, Button, Choices } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { useAct, useApp } from '../context'
import { invitation } from '../invitation'
import { LANGUAGES } from '../messages'

/** What this is, and the way in: a passkey, one from before, or keys in this browser where passkeys can't hold them. */
export function FirstUse(): JSX.Element {
  const { core, say, announce, preferences, setPreferences } = useApp()
  const { busy, failed, act } = useAct()
  const start = (where: 'passkey' | 'device') => () =>
    act(async () => {
      await core.firstUse(where, say.welcome.keyLabel)
      announce(say.home.title)
    })
  const restore = () =>
    act(async () => {
      await core.unlock()
      announce(say.home.title)
    })
  const cant = busy ? say.welcome.creating : undefined
  const points = ['eye', 'proof', 'stop'] as const
  return (
    <Page
      title={say.welcome.title}
      above={
        <p class="line own">
          <Mark />
          <span class="strong">{say.app.name}</span>
        </p>
      }
      alone
    >
      <ul class="points">
        {say.welcome.points.map((point, index) => (
          <li key={point}>
            <Icon name={points[index] ?? 'check'} />
            <span>{point}</span>
          </li>
        ))}
      </ul>
      {invitation() !== undefined && (
        <Banner icon="key">
          <p>{say.welcome.invited}</p>
        </Banner>
      )}
      {failed?.kind === 'noPrf' ? (
        <div class="card" role="alert">
          <h2>{say.welcome.fallbackTitle}</h2>
          <p>{say.welcome.fallbackBody}</p>
          <Button look="big wide" unable={cant} onClick={start('device')}>
            {say.welcome.fallbackGo}
          </Button>
          <Button look="big wide" unable={cant} onClick={start('passkey')}>
            {say.welcome.fallbackOther}
          </Button>
        </div>
      ) : (
        <div class="stack">
          {failed && <ProblemNotice problem={failed} />}
          <Button look="big accent wide" icon="key" unable={cant} onClick={start('passkey')}>
            {busy ? say.welcome.creating : say.welcome.create}
          </Button>
          <p class="small soft">{say.welcome.createHint}</p>
          <Button look="wide" unable={cant} onClick={restore}>
            {say.welcome.existing}
          </Button>
          <p class="small soft">{say.welcome.existingHint}</p>
        </div>
      )}
      <p class="small soft">{say.welcome.privacy}</p>
      <Choices
        legend={say.settings.language}
        name="language"
        options={LANGUAGES.map(({ tag, name }) => ({ value: tag, label: name, lang: tag }))}
        value={preferences.language}
        set={(language) => setPreferences({ ...preferences, language })}
      />
    </Page>
  )
}
