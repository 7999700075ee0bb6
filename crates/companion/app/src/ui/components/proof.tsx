import type { JSX } from 'preact'
import type { ProofHandle } from '../../core/index.ts'
import { useApp, useLoaded } from '../context'
import { saveText } from '../files'
import { Button, Step, Term, Waiting } from './parts'
import { ProblemNotice } from './problem'
import { Sheet } from './sheet'

/** Checks a proof now, on this device, and shows each step of it. */
export function ProofSheet({ handle, close }: { handle: ProofHandle; close: () => void }): JSX.Element {
  const { core, say, format } = useApp()
  const loaded = useLoaded(() => core.proofOf(handle), [handle.index], [])
  const failing = loaded.at === 'there' ? loaded.value.steps.find((step) => step.error)?.error : undefined
  return (
    <Sheet title={say.proof.title} close={close} closeLabel={say.app.close}>
      <p class="strong" role="status">
        {loaded.at === 'loading' && say.proof.checking}
        {loaded.at === 'there' && (loaded.value.holds ? say.proof.all : say.proof.failed)}
      </p>
      {loaded.at === 'loading' && <Waiting label={say.proof.checking} blocks={1} />}
      {loaded.at === 'failed' && <ProblemNotice problem={loaded.problem} again={loaded.again} />}
      {loaded.at === 'there' && (
        <>
          <ol class="steps">
            {loaded.value.steps.map((step) => (
              <Step key={step.check} state={step.result === 'fails' ? 'late' : step.result === 'notChecked' ? 'open' : 'done'} title={step.result === 'fails' ? say.proof.fails(say.proof[step.check]) : say.proof[step.check]}>
                {step.result === 'first' ? say.proof.first : step.result === 'notChecked' ? say.proof.notChecked : undefined}
              </Step>
            ))}
          </ol>
          {failing && <ProblemNotice problem={failing} again={loaded.again} />}
          <dl class="terms">
            <Term name={say.proof.index}>
              <span class="numbers">{format.number(loaded.value.index)}</span>
            </Term>
            <Term name={say.proof.when}>{format.exact(loaded.value.recordedAt)}</Term>
            <Term name={say.proof.size}>
              <span class="numbers">{format.number(loaded.value.size)}</span>
            </Term>
            <Term name={say.proof.leaf}>
              <span class="code tiny">{loaded.value.leaf}</span>
            </Term>
            <Term name={say.proof.root}>
              <span class="code tiny">{loaded.value.root}</span>
            </Term>
          </dl>
          <p class="small soft">{say.proof.what}</p>
          <Button icon="save" onClick={() => saveText(`countersign-${loaded.value.index}.tlog-proof`, loaded.value.file)}>
            {say.proof.save}
          </Button>
        </>
      )}
    </Sheet>
  )
}
