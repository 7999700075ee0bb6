import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { Icon } from './icon'

/** A dialog that lies over the page. The browser keeps the focus within it, gives it back when it closes, and closes it on Escape. */
export function Sheet({ title, close, closeLabel, children }: { title: string; close: () => void; closeLabel: string; children: ComponentChildren }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const label = useId()
  useEffect(() => {
    const element = dialog.current
    if (element && !element.open) element.showModal()
    return () => element?.close()
  }, [])
  return (
    <dialog
      class="sheet"
      ref={dialog}
      aria-labelledby={label}
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <header>
        <h2 id={label}>{title}</h2>
        <button type="button" class="button plain" aria-label={closeLabel} onClick={close}>
          <Icon name="cross" />
        </button>
      </header>
      <div class="inside">{children}</div>
    </dialog>
  )
}
