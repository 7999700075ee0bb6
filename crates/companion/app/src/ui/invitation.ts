/** The fragment by which a brand's app hands over an invitation. */
const MARK = '#countersign-invitation='

let held: string | undefined
let taken = 0

/**
 * Takes an invitation out of the address at once, so that it stands in no history, no bookmark and no screenshot, and holds it in
 * memory alone. Returns whether there was one.
 */
export function take(): boolean {
  if (!location.hash.startsWith(MARK)) return false
  held = location.hash
  taken++
  history.replaceState({ depth: 0 }, '', '#/link')
  return true
}

/** How many were taken: each opens the screen anew. */
export const count = (): number => taken

export const invitation = (): string | undefined => held

export const hold = (text: string | undefined): void => void (held = text)
