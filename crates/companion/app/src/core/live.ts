// What happens at the broker, as it happens.
import { Kind } from '../gen/countersign/log/v1/record_pb.ts'
import { EventService } from '../gen/countersign/v1/event_service_pb.ts'
import type { Core } from './core.ts'
import { pause as sleep, toFailed } from './transport.ts'
import type { Change } from './types.ts'

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000
/** A stream that says nothing for so long is taken up anew: phones lose connections without a word. */
const STREAM_MS = 10 * 60_000
const REFRESH_MS = 30_000

/** Watches the stream of events while somebody is told of changes, and takes it up again where it broke. */
export async function following(core: Core, catchUp: () => Promise<void>): Promise<void> {
  let wait = FIRST_PAUSE_MS
  while (core.watched && core.keys && !core.over && !core.status().halted) {
    try {
      await catchUp()
      const { size } = await core.monitor.refresh()
      core.tell({ what: 'status' })
      const abort = new AbortController()
      const timer = setTimeout(() => abort.abort(), STREAM_MS)
      const heads = setInterval(() => void core.monitor.refresh().catch(() => undefined), REFRESH_MS)
      try {
        const stream = core.client(EventService).watchEvents({ parent: core.customer, cursor: size }, { signal: abort.signal, timeoutMs: STREAM_MS })
        for await (const { event } of stream) {
          wait = FIRST_PAUSE_MS
          if (event) for (const change of changes(event.kind, event.grant)) core.tell(change)
          if (!core.watched || core.over) break
        }
      } finally {
        clearTimeout(timer)
        clearInterval(heads)
        abort.abort()
      }
    } catch (thrown) {
      const failed = toFailed(thrown)
      if (failed.halts) return
    }
    await sleep(wait)
    wait = Math.min(wait * 2, LONGEST_PAUSE_MS)
  }
}

function changes(kind: Kind, grant: string): Change[] {
  const told: Change[] = [{ what: 'timeline' }]
  const name = Kind[kind] ?? ''
  if (name.startsWith('REQUEST_')) told.push({ what: 'requests' })
  else if (name.startsWith('LINK_')) told.push({ what: 'links' })
  else if (grant !== '') told.push({ what: 'grants', name: grant })
  else if (name.startsWith('AUTHENTICATOR_') || name.startsWith('ASKING_') || name.startsWith('CUSTOMER_')) told.push({ what: 'settings' })
  if (kind === Kind.GRANT_APPROVED) told.push({ what: 'requests' })
  return told
}
