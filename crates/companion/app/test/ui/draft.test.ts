import { expect, test } from 'vitest'
import type { RowView } from '../../src/core/index.ts'
import { addField, change, changeOf, draftOf, include, included, isChanged, keeps, shorter } from '../../src/ui/draft'
import { fakeCore, REQUEST } from '../fake-core'

const request = await fakeCore({}).readRequest(REQUEST)
const [first, optional] = [request.rows[0] as RowView, request.rows[4] as RowView]

test('nothing optional is on before somebody switched it on', () => {
  const draft = draftOf(request)
  expect(draft).toEqual({ rows: [] })
  expect(request.rows.filter((row) => included(draft, row)).map((row) => row.number)).toEqual([1, 2, 3, 4])
  expect(changeOf(draft, first).fields).toBeUndefined()
})

test('a row that is switched on and off again leaves no trace', () => {
  const on = include({ rows: [] }, optional, true)
  expect(on.rows).toEqual([5])
  expect(include(include(on, optional, true), optional, false).rows).toEqual([])
})

test('what is set back to what was asked is not called changed', () => {
  const less = change({ rows: [] }, first, { uses: 3 })
  expect(isChanged(less, first)).toBe(true)
  expect(isChanged(change(less, first, { uses: first.uses }), first)).toBe(false)
  const added = addField({ rows: [] }, first, 'pickup.location', true)
  expect(changeOf(added, first).fields).toEqual(['pickup.location'])
  expect(isChanged(addField(added, first, 'pickup.location', false), first)).toBe(false)
})

test('only shorter ends are put to choice', () => {
  for (const seconds of [3_600, 86_400, 172_800, 2_592_000]) {
    expect(Math.max(...shorter(seconds))).toBe(seconds)
    expect(Math.min(...shorter(seconds))).toBeGreaterThan(0)
    expect(new Set(keeps(seconds)).size).toBe(keeps(seconds).length)
    expect(keeps(seconds).at(-1)).toBe(0)
  }
})
