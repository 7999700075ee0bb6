import type { ComponentChildren, JSX } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { useApp } from '../context'
import { back, lastTop } from '../router'
import { Icon } from './icon'

/** A screen with its heading, which gets the focus when the screen opens, so that it is read out first. */
export function Page({ title, lead, above, alone = false, children }: { title: string; lead?: ComponentChildren; above?: ComponentChildren; alone?: boolean; children: ComponentChildren }): JSX.Element {
  const { say } = useApp()
  const heading = useRef<HTMLHeadingElement>(null)
  useLayoutEffect(() => {
    heading.current?.focus({ preventScroll: true })
    scrollTo(0, lastTop())
  }, [])
  useLayoutEffect(() => {
    document.title = `${title} · ${say.app.name}`
  }, [title])
  return (
    <div class="stack wide">
      <header class="head">
        {!alone && (
          <button type="button" class="button plain backlink" onClick={back}>
            <Icon name="back" />
            <span>{say.app.back}</span>
          </button>
        )}
        {above}
        <h1 tabIndex={-1} ref={heading}>
          {title}
        </h1>
        {lead && <div class="soft stack tight">{lead}</div>}
      </header>
      {children}
    </div>
  )
}

/** A part of a screen under its own heading. */
export function Part({ title, hint, aside, children }: { title: string; hint?: string; aside?: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <section class="stack">
      <div class="stack tight">
        <div class="line apart">
          <h2>{title}</h2>
          {aside}
        </div>
        {hint && <p class="soft small">{hint}</p>}
      </div>
      {children}
    </section>
  )
}
