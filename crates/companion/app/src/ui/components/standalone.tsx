import type { JSX } from 'preact'
import type { Problem } from '../context'
import type { Messages } from '../messages'
import { told } from '../problems'
import { Mark } from './icon'

/** Why the app can't open at all: there is nothing else to draw. */
export function Standalone({ say, problem }: { say: Messages; problem: Problem }): JSX.Element {
  const { title, what, todo, fault, code } = told(problem, say, (partner) => partner)
  return (
    <div class="frame alone">
      <main class="stack wide">
        <p class="line own">
          <Mark />
          <span class="strong">{say.app.name}</span>
        </p>
        <div class="card alert" role="alert">
          <h1 class="small-title">{title}</h1>
          <p>{what}</p>
          <p>
            <span class="strong">{say.problems.todo}</span> {todo}
          </p>
          <p class="small soft">{say.problems.faults[fault]}</p>
          <button type="button" class="button accent" onClick={() => location.reload()}>
            {say.app.retry}
          </button>
          <p class="tiny soft code">{code}</p>
        </div>
      </main>
    </div>
  )
}
