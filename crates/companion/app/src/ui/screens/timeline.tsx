import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { GrantView, TimelineCursor, TimelineEntry, TimelineFilter } from '../../core/index.ts'
import { Entry } from '../components/entry'
import { Page } from '../components/page'
import { Choices, Waiting } from '../components/parts'
import { ProblemNotice } from '../components/problem'
import { problem, useApp, useLoaded, type Problem } from '../context'
import { SeenLine } from './home'

/** So many entries are drawn or left out together. */
const BLOCK = 30
/** An entry's height before one was drawn, in pixels. */
const GUESS = 132
/** How far outside the window entries are drawn, and asked for, already. */
const AHEAD = '900px 0px'

/** All that happened, newest first, by day: transfers, refusals, changes. */
export function Timeline(): JSX.Element {
  const { core, say } = useApp()
  const [filter, set] = useState<TimelineFilter>('all')
  const grants = useLoaded(() => core.grants(), [], ['grants'])
  const named = useMemo(() => new Map(grants.at === 'there' ? grants.value.map((grant) => [grant.name, grant]) : []), [grants])
  const options = (['all', 'transfers', 'refusals', 'changes'] as const).map((value) => ({ value, label: say.timeline[value] }))
  return (
    <Page title={say.timeline.title} lead={<p>{say.timeline.lead}</p>} alone>
      <SeenLine />
      <Choices legend={say.timeline.filter} name="filter" options={options} value={filter} set={set} />
      <List key={filter} filter={filter} grants={named} />
    </Page>
  )
}

/** Reads page after page, as far as the person scrolls. */
function List({ filter, grants }: { filter: TimelineFilter; grants: ReadonlyMap<string, GrantView> }): JSX.Element {
  const { core, say, format, heard } = useApp()
  const [entries, setEntries] = useState<readonly TimelineEntry[]>([])
  const [failed, setFailed] = useState<Problem>()
  const [more, setMore] = useState(true)
  const [pages, turn] = useState(0)
  const cursor = useRef<TimelineCursor>(undefined)
  const reading = useRef(false)
  const read = useCallback(async () => {
    if (reading.current) return
    reading.current = true
    setFailed(undefined)
    try {
      const page = await core.timeline({ filter, ...(cursor.current !== undefined && { cursor: cursor.current }) })
      cursor.current = page.next
      setEntries((before) => joined(before, page.entries))
      setMore(page.next !== undefined)
      turn((page) => page + 1)
    } catch (thrown) {
      setFailed(problem(thrown))
      setMore(false)
    } finally {
      reading.current = false
    }
  }, [filter])
  // What is new stands above what was read: only the newest page is read again.
  useEffect(() => {
    if (entries.length === 0) return
    core.timeline({ filter }).then(
      (page) => setEntries((before) => joined(page.entries, before)),
      () => undefined,
    )
  }, [heard.timeline, format])
  const blocks = useMemo(() => blocksOf(entries, format.dayKey), [entries, format])
  return (
    <div class="stack">
      {entries.length > 0 && (
        <p class="tiny soft" role="status">
          {say.timeline.count(entries.length)}
        </p>
      )}
      {!more && !failed && entries.length === 0 && <p class="card off">{filter === 'all' ? say.timeline.empty : say.timeline.emptyFilter}</p>}
      {blocks.map((block) => (
        <Block key={block.key} block={block} grants={grants} />
      ))}
      {failed && <ProblemNotice problem={failed} again={() => setMore(true)} />}
      {more && <Below key={pages} reached={read} label={say.app.loading} />}
    </div>
  )
}

/** Two runs of entries as one, each entry once, newest first. */
export function joined(newer: readonly TimelineEntry[], older: readonly TimelineEntry[]): readonly TimelineEntry[] {
  const known = new Set(newer.map((entry) => entry.index))
  return [...newer, ...older.filter((entry) => !known.has(entry.index))]
}

/** Calls as soon as the end of what was read comes near. */
function Below({ reached, label }: { reached: () => void; label: string }): JSX.Element {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && reached(), { rootMargin: AHEAD })
    if (place.current) observer.observe(place.current)
    return () => observer.disconnect()
  }, [])
  return (
    <div ref={place}>
      <Waiting label={label} blocks={2} />
    </div>
  )
}

interface BlockOf {
  key: number
  /** When the day began that starts with this block; absent if the block before is of the same day. */
  day: number | undefined
  entries: TimelineEntry[]
}

/** Runs of entries of one day, none longer than a block. */
export function blocksOf(entries: readonly TimelineEntry[], dayKey: (ms: number) => string): BlockOf[] {
  const blocks: BlockOf[] = []
  let before: string | undefined
  for (const entry of entries) {
    const day = dayKey(entry.at)
    const last = blocks.at(-1)
    if (last && day === before && last.entries.length < BLOCK) last.entries.push(entry)
    else blocks.push({ key: entry.index, day: day === before ? undefined : entry.at, entries: [entry] })
    before = day
  }
  return blocks
}

/** Draws its entries only when they come near the window; before and after, their height stands for them. */
function Block({ block, grants }: { block: BlockOf; grants: ReadonlyMap<string, GrantView> }): JSX.Element {
  const { format } = useApp()
  const place = useRef<HTMLDivElement>(null)
  const height = useRef(block.entries.length * GUESS)
  const [near, set] = useState(false)
  useEffect(() => {
    const element = place.current
    if (!element) return undefined
    const observer = new IntersectionObserver(
      ([entry]) => {
        // What holds the focus or an open sheet stays, however far it is scrolled away.
        if (!entry || (!entry.isIntersecting && element.contains(document.activeElement))) return
        if (!entry.isIntersecting && element.childElementCount > 0) height.current = element.offsetHeight
        set(entry.isIntersecting)
      },
      { rootMargin: AHEAD },
    )
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  return (
    <div ref={place} class="stack tight" style={{ height: near ? '' : `${height.current}px` }}>
      {near && (
        <>
          {block.day !== undefined && <h2 class="day">{format.day(block.day)}</h2>}
          <ul class="rows">
            {block.entries.map((entry) => (
              <Entry key={entry.index} entry={entry} grant={entry.grant === undefined ? undefined : grants.get(entry.grant)} />
            ))}
          </ul>
        </>
      )}
    </div>
  )
}
