import type { JSX } from 'preact'
import type { RequestView, RowView } from '../../core/index.ts'
import { Way } from '../components/brand'
import { Button, Choices, Stepper, Switch } from '../components/parts'
import { Sheet } from '../components/sheet'
import { useApp } from '../context'
import { addField, change, changeOf, include, included, isChanged, keeps, shorter, type Draft } from '../draft'

/** Less than was asked: each row's end, uses, keeping and optional fields. */
export function Changing({ request, draft, set, close }: { request: RequestView; draft: Draft; set: (draft: Draft) => void; close: () => void }): JSX.Element {
  const { say } = useApp()
  return (
    <Sheet title={say.request.changing.title} close={close} closeLabel={say.app.close}>
      <p class="soft">{say.request.changing.lead}</p>
      {request.rows.map((row) => (
        <RowChange key={row.number} row={row} draft={draft} set={set} />
      ))}
      <Button look="accent big wide" onClick={close}>
        {say.app.done}
      </Button>
    </Sheet>
  )
}

function RowChange({ row, draft, set }: { row: RowView; draft: Draft; set: (draft: Draft) => void }): JSX.Element {
  const { say, format } = useApp()
  const changing = say.request.changing
  const choice = changeOf(draft, row)
  const durations = shorter(row.durationSeconds)
  return (
    <section class="card" aria-label={say.app.gives(row.source.displayName, row.recipient.displayName)}>
      <Way source={row.source} recipient={row.recipient} />
      {row.optional && (
        <Switch on={included(draft, row)} set={(on) => set(include(draft, row, on))}>
          {say.request.include}
        </Switch>
      )}
      {included(draft, row) && (
        <>
          {durations.length > 1 && (
            <Choices
              legend={changing.until}
              name={`until-${row.number}`}
              options={durations.map((value) => ({ value, label: changing.after(format.duration(value)) }))}
              value={choice.durationSeconds ?? row.durationSeconds}
              set={(durationSeconds) => set(change(draft, row, { durationSeconds }))}
            />
          )}
          {row.uses > 1 && (
            <Stepper
              label={changing.uses}
              value={choice.uses ?? row.uses}
              least={1}
              most={row.uses}
              set={(uses) => set(change(draft, row, { uses }))}
              fewer={changing.fewer}
              more={changing.moreTimes}
              say={format.number}
            />
          )}
          {row.retentionSeconds > 0 && (
            <Choices
              legend={changing.kept}
              name={`kept-${row.number}`}
              options={keeps(row.retentionSeconds).map((value) => ({ value, label: value === 0 ? say.terms.keptNot : format.duration(value) }))}
              value={choice.retentionSeconds ?? row.retentionSeconds}
              set={(retentionSeconds) => set(change(draft, row, { retentionSeconds }))}
            />
          )}
          {row.addable.length > 0 && (
            <fieldset class="choices">
              <legend>{changing.fields}</legend>
              {row.addable.map((field) => (
                <Switch key={field.path} on={choice.fields?.includes(field.path) === true} set={(on) => set(addField(draft, row, field.path, on))}>
                  {field.title}
                </Switch>
              ))}
            </fieldset>
          )}
        </>
      )}
      {isChanged(draft, row) && (
        <Button look="plain" onClick={() => set({ ...draft, changed: Object.fromEntries(Object.entries(draft.changed ?? {}).filter(([number]) => Number(number) !== row.number)) })}>
          {changing.reset}
        </Button>
      )}
    </section>
  )
}
