import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Mark } from '../components/icon'
import { Page, Part } from '../components/page'
import { Banner, Button } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { Phone } from '../components/terms'
import { useApp } from '../context'
import { go, to } from '../router'
import { FirstUse } from './first-use'

/** The account is closed, or its keys were reported stolen: what that left to see to, and a way to begin anew. */
export function Over(): JSX.Element {
  const { core, say, format, status } = useApp()
  const [begins, begin] = useState(false)
  const [sure, ask] = useState(false)
  // Whoever begins anew begins at home, wherever it ended.
  useEffect(() => {
    if (location.hash !== to.home) go(to.home, 'replace')
  }, [])
  const { how, index, left, list } = status.over ?? { how: 'closed', left: [] }
  if (begins) return <FirstUse />
  return (
    <Page
      title={say.over.title}
      above={
        <p class="line own">
          <Mark />
          <span class="strong">{say.app.name}</span>
        </p>
      }
      alone
    >
      <ProblemNotice problem={{ kind: 'over', how }}>
        {index !== undefined && <p class="small numbers">{say.timeline.entryNumber(format.number(index))}</p>}
      </ProblemNotice>
      {(left.length > 0 || list) && (
        <Part title={say.over.left}>
          <Banner tone="stop" icon="warn">
            <p>{left.length > 0 ? say.over.leftLead : say.stop.listWarning}</p>
          </Banner>
          {left.length > 0 && (
            <ul class="rows">
              {left.map((one, at) => (
                <li key={at}>
                  <span class="row">
                    <span class="grow">
                      {say.app.gives(one.source, one.recipient)}
                      <br />
                      <span class="tiny soft">{say.over.ask(one.brand)}</span>
                    </span>
                    {one.phone && <Phone phone={one.phone} />}
                  </span>
                </li>
              ))}
            </ul>
          )}
          {list && <ProblemNotice problem={list} />}
        </Part>
      )}
      <Button look="big accent wide" icon="key" onClick={() => begin(true)}>
        {say.over.anew}
      </Button>
      {sure ? (
        <div class="card">
          <p>{say.over.forgetHint}</p>
          <div class="pair">
            <Button onClick={() => ask(false)}>{say.app.cancel}</Button>
            <Button look="stop full" onClick={() => void core.forget()}>
              {say.settings.forget}
            </Button>
          </div>
        </div>
      ) : (
        <Button look="plain" icon="cross" onClick={() => ask(true)}>
          {say.settings.forget}
        </Button>
      )}
    </Page>
  )
}
