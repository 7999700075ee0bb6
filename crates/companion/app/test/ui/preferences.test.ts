// @vitest-environment happy-dom
import { expect, test } from 'vitest'
import { inOrder, PARTS, read } from '../../src/ui/preferences'

test('every order of the home screen holds the same parts', () => {
  for (const first of PARTS) {
    expect(inOrder(first)[0]).toBe(first)
    expect([...inOrder(first)].sort()).toEqual([...PARTS].sort())
  }
})

test('what nobody can have chosen is not taken up', () => {
  for (const kept of ['{"first":"adverts","text":9}', '[]', 'null', '{']) {
    localStorage.setItem('countersign.look', kept)
    expect(read()).toMatchObject({ first: 'requests', text: 1 })
  }
  localStorage.setItem('countersign.look', '{"first":"benefits"}')
  expect(read().first).toBe('benefits')
})
