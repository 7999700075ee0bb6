import type { ComponentChildren, JSX } from 'preact'
import { useApp } from '../context'
import { Icon, type IconName } from './icon'

export interface ButtonProps {
  children: ComponentChildren
  onClick: () => void
  icon?: IconName
  /** How it looks: what it does is in its words. */
  look?: string
  /** Why it can't be pressed now; it stays in the order of keys, so that the reason can be found. */
  unable?: string | undefined
  label?: string
}

/** A button of at least 44 pixels. */
export function Button({ children, onClick, icon, look = '', unable, label }: ButtonProps): JSX.Element {
  return (
    <button
      type="button"
      class={`button ${look}`}
      aria-disabled={unable === undefined ? undefined : 'true'}
      aria-label={label}
      title={unable}
      onClick={() => unable === undefined && onClick()}
    >
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  )
}

/** A link that looks like a button. */
export function LinkButton({ href, children, icon, look = '', label }: { href: string; children: ComponentChildren; icon?: IconName; look?: string; label?: string }): JSX.Element {
  return (
    <a class={`button ${look}`} href={href} aria-label={label}>
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </a>
  )
}

export type Tone = 'plain' | 'good' | 'warn' | 'stop' | 'accent'

/** A state in a word and a drawing. */
export function Badge({ tone = 'plain', icon, children }: { tone?: Tone; icon?: IconName; children: ComponentChildren }): JSX.Element {
  return (
    <span class={`badge ${tone}`}>
      {icon && <Icon name={icon} size={15} />}
      {children}
    </span>
  )
}

/** Something that the whole screen stands under. */
export function Banner({ tone = 'plain', icon, children }: { tone?: Tone; icon: IconName; children: ComponentChildren }): JSX.Element {
  return (
    <div class={`banner ${tone}`}>
      <Icon name={icon} />
      <div class="stack tight">{children}</div>
    </div>
  )
}

/** A check box that looks like what it does. */
export function Switch({ on, set, children, unable, note }: { on: boolean; set: (on: boolean) => void; children: ComponentChildren; unable?: boolean; note?: string | undefined }): JSX.Element {
  return (
    <label class="switch">
      <span>
        {children}
        {note && <span class="soft small"> {note}</span>}
      </span>
      <input type="checkbox" role="switch" checked={on} disabled={unable} onChange={(event) => set(event.currentTarget.checked)} />
    </label>
  )
}

/** One of a few. */
export function Choices<T extends string | number>({ legend, name, options, value, set }: { legend: string; name: string; options: readonly { value: T; label: string; lang?: string }[]; value: T; set: (value: T) => void }): JSX.Element {
  return (
    <fieldset class="choices">
      <legend>{legend}</legend>
      {options.map((option) => (
        <label class="choice" key={option.value}>
          <input type="radio" name={name} checked={option.value === value} onChange={() => set(option.value)} />
          <span lang={option.lang}>{option.label}</span>
        </label>
      ))}
    </fieldset>
  )
}

/** A number between two others. */
export function Stepper({ label, value, least, most, set, fewer, more, say }: { label: string; value: number; least: number; most: number; set: (value: number) => void; fewer: string; more: string; say: (value: number) => string }): JSX.Element {
  return (
    <div class="stack tight" role="group" aria-label={label}>
      <span class="small strong">{label}</span>
      <div class="stepper">
        <Button icon="minus" label={`${label}: ${fewer}`} unable={value <= least ? say(least) : undefined} onClick={() => set(value - 1)}>
          {''}
        </Button>
        <output class="numbers" aria-live="polite">{say(value)}</output>
        <Button icon="plus" label={`${label}: ${more}`} unable={value >= most ? say(most) : undefined} onClick={() => set(value + 1)}>
          {''}
        </Button>
      </div>
    </div>
  )
}

/** A name and what it is. */
export function Term({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  )
}

/** What takes a moment. */
export function Waiting({ label, blocks = 3 }: { label: string; blocks?: number }): JSX.Element {
  return (
    <div class="waiting" role="status" aria-label={label}>
      {Array.from({ length: blocks }, (_, index) => (
        <i key={index} />
      ))}
    </div>
  )
}

export type StepState = 'done' | 'now' | 'late' | 'open'

/** One step of something that takes its time. */
export function Step({ state, title, children }: { state: StepState; title: string; children?: ComponentChildren }): JSX.Element {
  const { say } = useApp()
  return (
    <li class={state}>
      <span class="dot">{state === 'done' ? <Icon name="check" size={16} /> : state === 'late' ? <Icon name="warn" size={15} /> : null}</span>
      <div class="stack tight">
        <span class="strong">
          <span class="unseen">{say.steps[state]}: </span>
          {title}
        </span>
        {children && <div class="small soft stack tight">{children}</div>}
      </div>
    </li>
  )
}
