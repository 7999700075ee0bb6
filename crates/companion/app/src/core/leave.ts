// Reporting the keys stolen, and closing the account (protocol, sections 9 and 18).
import { chainOf, standingOf, termsOf } from './rows.ts'
import { CustomerService } from '../gen/countersign/v1/customer_service_pb.ts'
import { GrantService } from '../gen/countersign/v1/grant_service_pb.ts'
import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { CustomerChange_Verb } from '../gen/countersign/statement/v1/customer_pb.ts'
import { type GrantRow } from './book.ts'
import { mayStand, stop, stopAll } from './changes.ts'
import { SKEW_MS, type Core, type OverRow } from './core.ts'
import { blame, digestOf, envelopeBytes, sign } from './envelope.ts'
import type { CoreError } from './errors.ts'
import { acknowledged, reconcile } from './grants.ts'
import { saysOfCustomer } from './receipt.ts'
import { changeIdentity } from './settings.ts'
import { AccountClosure } from './statements.ts'
import { pause, toFailed } from './transport.ts'
import type { ClosingView, Name, StopAllView } from './types.ts'
import { brand } from './views.ts'

const CONFIRM_MS = 60_000
const LOOK_MS = 1_000

/** What is left over stands beside it: afterwards nothing can be asked any more. */
async function over(core: Core, how: OverRow['how'], index: bigint | undefined, left: OverRow['left'], list?: CoreError): Promise<void> {
  const row: OverRow = { how, ...(index !== undefined && { index: Number(index) }), left, ...(list && { list }) }
  await core.store.put({ store: 'meta', key: 'over', value: row })
  await core.reload()
  core.tell({ what: 'status' })
}

/** What stands is stopped first, each grant by a change that both its sides verify; then nothing is done with these keys any more. */
export async function reportStolen(core: Core): Promise<StopAllView> {
  const stopped = await stopAll(core, false)
  const left = await Promise.all(stopped.each.flatMap(({ grant, state }) => (isStopped(state) ? [] : [leftover(core, grant)])))
  const leaf = await changeIdentity(core, { said: { verb: CustomerChange_Verb.REPORT_STOLEN }, wrapped: new Uint8Array() })
  await over(core, 'stolen', leaf.index, left, stopped.list)
  return stopped
}

const isStopped = (state: string): boolean => state === 'recorded' || state === 'stopped'

/** Who can still end a grant: the side that has not heard of it, the source where nobody has. */
async function leftover(core: Core, name: Name, side?: string): Promise<OverRow['left'][number]> {
  const terms = termsOf(await core.book.mustHave(name))
  const [source, recipient, whom] = await Promise.all([terms.source, terms.recipient, side ?? terms.source].map((one) => brand(core, one)))
  return { source: source!.displayName, recipient: recipient!.displayName, brand: whom!.displayName, phone: whom!.phone ?? '' }
}

export async function closeAccount(core: Core, anyway: boolean): Promise<ClosingView> {
  core.monitor.check()
  const before = await core.store.get<Uint8Array>('meta', 'closing')
  if (before) {
    try {
      return await close(core, [])
    } catch (thrown) {
      // Something stands, approved since or elsewhere.
      const { error } = toFailed(thrown)
      if (error.kind !== 'refused' || error.reason !== 'WRONG_STATE') throw thrown
    }
  }
  const { rows, notStopped, list } = await stopAndOrder(core)
  const unheard = await waitUntilHeard(core, rows, anyway ? 0 : CONFIRM_MS)
  if ((unheard.length > 0 || notStopped.length > 0 || list) && !anyway) return { state: 'waits', unheard, notStopped, ...(list && { list }) }
  const deaf = unheard.map(({ grant, brand: { name } }) => ({ grant, side: name }))
  const left = await Promise.all([...notStopped.map(({ grant }) => ({ grant, side: undefined })), ...deaf].map(({ grant, side }) => leftover(core, grant, side)))
  return close(core, left, list)
}

/** Stops all with an order to delete, what has ended too. */
async function stopAndOrder(core: Core): Promise<{ rows: Name[]; notStopped: { grant: Name; error: CoreError }[]; list?: CoreError }> {
  const { each, list } = await stopAll(core, true)
  const notStopped = each.flatMap(({ grant, state, error }) => (isStopped(state) ? [] : [{ grant, error: error ?? { kind: 'unreachable', offline: false } as const }]))
  const standing = new Set((await mayStand(core)).rows.map((row) => row.name))
  const rows: Name[] = []
  for (const row of await core.book.grants()) {
    if (standingOf(row) === 'superseded') continue
    if (chainOf(row).erase) {
      rows.push(row.name)
      continue
    }
    // It ended without ever being a grant: nothing was received under it.
    if (standingOf(row) !== 'stopped' && !row.shown && !standing.has(row.name)) continue
    if (notStopped.some(({ grant }) => grant === row.name)) continue
    try {
      await stop(core, row.name, true)
      rows.push(row.name)
    } catch (thrown) {
      const failed = toFailed(thrown)
      if (failed.halts) throw failed
      notStopped.push({ grant: row.name, error: failed.error })
    }
  }
  return { rows, notStopped, ...(list && { list }) }
}

async function waitUntilHeard(core: Core, names: readonly Name[], within: number): Promise<ClosingView['unheard']> {
  const until = core.now() + within
  const rows = (await Promise.all(names.map((name) => core.book.grant(name)))).filter((row): row is GrantRow => row !== undefined)
  let left = rows.flatMap((row) => [termsOf(row).source, termsOf(row).recipient].map((side) => ({ name: row.name, side })))
  for (;;) {
    const still: typeof left = []
    for (const one of left) if (!(await hasHeard(core, one.name, one.side))) still.push(one)
    left = still
    if (left.length === 0 || core.now() >= until) break
    await pause(LOOK_MS)
  }
  return Promise.all(left.map(async ({ name, side }) => ({ grant: name, brand: await brand(core, side) })))
}

/** What does not verify is no word, and no reason to give up: whoever made it would keep the account open for good. */
async function hasHeard(core: Core, name: Name, side: string): Promise<boolean> {
  try {
    const shown = await core.client(GrantService).getGrant({ name })
    const row = (await reconcile(core, shown, await core.book.grant(name))) ?? (await core.book.mustHave(name))
    return (await acknowledged(core, row, shown, side)).word !== undefined
  } catch (thrown) {
    const failed = toFailed(thrown)
    if (failed.halts) throw failed
    return false
  }
}

async function close(core: Core, left: OverRow['left'], list?: CoreError): Promise<ClosingView> {
  const sent = (await core.store.get<Uint8Array>('meta', 'closing')) !== undefined
  const name = core.customer
  const statement = await sign(AccountClosure, { broker: core.origin, customer: name, timeMs: BigInt(core.now()) }, [core.callKey])
  await core.store.put({ store: 'meta', key: 'closing', value: envelopeBytes(statement) })
  let answer
  try {
    answer = await core.client(CustomerService).closeCustomer({ name, statement })
  } catch (thrown) {
    const failed = toFailed(thrown)
    // Of a closing whose answer was lost: the broker can't tell any more whom it does not know.
    const stranger = failed.error.kind === 'refused' && failed.error.reason === 'TOKEN_INVALID' && failed.error.metadata['check'] === 'principal'
    if (sent && stranger) {
      await over(core, 'unproven', undefined, left, list)
      return { state: 'unproven', unheard: [], notStopped: [] }
    }
    throw failed
  }
  const leaf = await core.proven(answer.receipt)
  await saysOfCustomer(leaf, Kind.CUSTOMER_ERASED, name, await digestOf(statement), core.now() - SKEW_MS, core.now() + SKEW_MS)
    .catch((thrown) => Promise.reject(blame('broker', 'receipt', thrown)))
  await over(core, 'closed', leaf.index, left, list)
  return { state: 'closed', unheard: [], notStopped: [] }
}
