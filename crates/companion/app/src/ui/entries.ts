import type { TimelineEntry } from '../core/index.ts'
import type { Messages } from './messages'

/** What a record is to the person: data that moved, data that did not, or everything else. */
export function entryGroup({ kind }: TimelineEntry): 'transfers' | 'refusals' | 'changes' {
  if (kind === 'transfer' || kind === 'again') return 'transfers'
  if (kind === 'refused' || kind === 'notReleased') return 'refusals'
  return 'changes'
}

/** A record in one sentence, with between whom, where the sentence does not say it. */
export function entryText(entry: TimelineEntry, { timeline }: Messages): string {
  const source = entry.source?.displayName ?? ''
  const recipient = entry.recipient?.displayName ?? ''
  switch (entry.kind) {
    case 'transfer':
    case 'again':
    case 'refused':
    case 'notReleased':
      return timeline[entry.kind](source, recipient)
    case 'previewed':
    case 'suspended':
    case 'unsuspended':
    case 'notice':
    case 'linkInvited':
    case 'linkAccepted':
    case 'linkConfirmed':
    case 'linkReplaced':
    case 'linkStolen':
      return timeline[entry.kind](source)
    case 'erasureOrdered':
    case 'erasureAttested':
    case 'erasureOverdue':
      return timeline[entry.kind](recipient)
    case 'requestCreated':
      return timeline.requestCreated(source || recipient)
    default: {
      const what = timeline[entry.kind]
      return source && recipient ? `${what}: ${source} → ${recipient}` : what
    }
  }
}

/** Why, of a code; a code that is not known is shown as it is. */
export function reasonText(code: string, { reasons }: Messages): string {
  const known: Readonly<Record<string, unknown>> = reasons
  const text = known[code]
  return typeof text === 'string' ? text : reasons.other(code)
}
