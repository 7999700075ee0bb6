// A check of the protocol that failed, before it is known whose fault it is.
import { misbehaved, type Failed, type Party } from './errors.ts'

/** Why an envelope is refused: the check of the protocol that failed. */
export class Refusal extends Error {
  constructor(readonly check: string) {
    super(check)
  }
}

/** Whose word did not hold. What is no refusal is thrown on. */
export function blame(who: Party, what: string, thrown: unknown): Failed {
  if (thrown instanceof Refusal) return misbehaved(who, what, thrown.check)
  throw thrown
}
