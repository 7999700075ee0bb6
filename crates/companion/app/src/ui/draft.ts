import type { Choice, FieldPath, RequestView, RowView } from '../core/index.ts'

/** What the person has made of a request so far: what the core signs is made of this and the request alone. */
export type Draft = Choice & { rows: number[] }

type Changed = NonNullable<NonNullable<Choice['changed']>[number]>

/** Kept while the page is open, so that a look at the data, or the back button, loses nothing. */
const drafts = new Map<string, Draft>()

/** As asked: what is optional is off. */
export const draftOf = (request: RequestView): Draft => drafts.get(request.name) ?? { rows: [] }

export function keepDraft(request: string, draft: Draft): Draft {
  drafts.set(request, draft)
  return draft
}

export const forgetDraft = (request: string): void => void drafts.delete(request)

export const included = (draft: Draft, row: RowView): boolean => !row.optional || draft.rows.includes(row.number)

export function include(draft: Draft, row: RowView, on: boolean): Draft {
  const rows = draft.rows.filter((number) => number !== row.number)
  return { ...draft, rows: on ? [...rows, row.number].sort((a, b) => a - b) : rows }
}

export const changeOf = (draft: Draft, row: RowView): Changed => draft.changed?.[row.number] ?? {}

export const isChanged = (draft: Draft, row: RowView): boolean => Object.keys(changeOf(draft, row)).length > 0

/** Changes one row; what is as asked is left out, so that nothing is called changed that is not. */
export function change(draft: Draft, row: RowView, part: Changed): Draft {
  const next: Changed = { ...changeOf(draft, row), ...part }
  if (next.uses === row.uses) delete next.uses
  if (next.retentionSeconds === row.retentionSeconds) delete next.retentionSeconds
  if (next.durationSeconds === row.durationSeconds) delete next.durationSeconds
  if (next.fields?.length === 0) delete next.fields
  const changed = { ...draft.changed, [row.number]: next }
  if (Object.keys(next).length === 0) delete changed[row.number]
  return { ...draft, changed }
}

export function addField(draft: Draft, row: RowView, path: FieldPath, on: boolean): Draft {
  const fields = (changeOf(draft, row).fields ?? []).filter((field) => field !== path)
  return change(draft, row, { fields: on ? [...fields, path] : fields })
}

const STEPS = [2_592_000, 1_209_600, 604_800, 259_200, 172_800, 86_400, 43_200, 21_600, 10_800, 3_600]

/** The longest, and up to four shorter ones. */
export const shorter = (seconds: number): number[] => [seconds, ...STEPS.filter((step) => step < seconds)].slice(0, 5)

/** How long it may be kept: the longest, some shorter ones, or not at all. */
export const keeps = (seconds: number): number[] => [...shorter(seconds).slice(0, 3), 0]
