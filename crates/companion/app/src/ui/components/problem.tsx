import type { ComponentChildren, JSX } from 'preact'
import { useApp, type Problem, type Reloaded } from '../context'
import type { PartnerName } from '../../core/index.ts'
import { told, type Fault } from '../problems'
import { to } from '../router'
import { Icon, type IconName } from './icon'
import { Button, LinkButton, Waiting } from './parts'

const DRAWN: Record<Fault, IconName> = { you: 'info', nobody: 'info', device: 'info', network: 'offline', brand: 'warn', broker: 'warn', app: 'warn' }

/** What went wrong, whose fault it is, and what to do. */
export function ProblemNotice({ problem, again, children }: { problem: Problem; again?: (() => void) | undefined; children?: ComponentChildren }): JSX.Element {
  const { core, say } = useApp()
  const { title, what, todo, fault, lie, code } = told(problem, say, (partner) => core.called(partner as PartnerName))
  return (
    <div class={`card problem ${lie ? 'alert' : ''}`} role="alert">
      <div class="way">
        <Icon name={DRAWN[fault]} size={24} />
        <h2>{title}</h2>
      </div>
      <p>{what}</p>
      <p>
        <span class="strong">{say.problems.todo}</span> {todo}
      </p>
      <p class="small soft">{say.problems.faults[fault]}</p>
      <div class="actions">
        {again && (
          <Button look="accent" onClick={again}>
            {say.app.retry}
          </Button>
        )}
        {children}
        {lie && (
          <LinkButton href={to.settings} icon="phone">
            {say.settings.call}
          </LinkButton>
        )}
      </div>
      <details>
        <summary>
          <Icon name="chevron" size={16} />
          {say.app.details}
        </summary>
        <p class="small code">{code}</p>
      </details>
    </div>
  )
}

/** Shows what was asked for, as soon as it is there. */
export function Show<T>({ loaded, children }: { loaded: Reloaded<T>; children: (value: T) => JSX.Element }): JSX.Element {
  const { say } = useApp()
  if (loaded.at === 'loading') return <Waiting label={say.app.loading} />
  if (loaded.at === 'failed') return <ProblemNotice problem={loaded.problem} again={loaded.again} />
  return children(loaded.value)
}
