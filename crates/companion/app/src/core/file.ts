// `broker.json`, which lies beside the page: asked for before the rest of the core has come.

const FILE = 'broker.json'

/** The folder that the page came from. */
export const folder = (): string => new URL('.', globalThis.location?.href ?? 'http://127.0.0.1/').href

/** Of this very origin, as the page's other files; so the one that the page asks for ahead of all script is the one that is read. */
const ask = (): Promise<Response> => fetch(new URL(FILE, folder()), { referrerPolicy: 'no-referrer' })

let early: Promise<Response> | undefined

/** Begins to ask, for whoever reads it first. */
export function askEarly(): void {
  early = ask()
  // Whoever reads it hears of a failure.
  early.catch(() => undefined)
}

/** What was asked for early, once; after that it is asked for anew. */
export function brokerFile(): Promise<Response> {
  const mine = early ?? ask()
  early = undefined
  return mine
}
