import type { JSX } from 'preact'

/** Drawn on a grid of 24 with one stroke. */
const paths = {
  home: 'M4 11 12 4l8 7M6 9.5V20h4.5v-5h3v5H18V9.5',
  activity: 'M5 5v14M5 8h9M5 13h14M5 18h6',
  help: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M9.5 9.7a2.5 2.5 0 1 1 3.6 2.2c-.7.4-1.1.9-1.1 1.7v.2M12 17v.1',
  arrow: 'M4 12h16M14 6l6 6-6 6',
  back: 'M20 12H4M10 6l-6 6 6 6',
  chevron: 'm9 6 6 6-6 6',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5.5v13l10.5-6.5z',
  stop: 'M7 7h10v10H7z',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  cross: 'm6 6 12 12M18 6 6 18',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  proof: 'M12 3 5 6v5.5c0 4.3 2.9 7.6 7 9.5 4.1-1.9 7-5.2 7-9.5V6zM8.8 12l2.3 2.3 4.2-4.6',
  warn: 'M12 4 2.8 20h18.4zM12 10v4.5M12 17.4v.1',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 11v5.5M12 7.6v.1',
  offline: 'M3 4l18 17M5 12.5a10 10 0 0 1 4.4-2.6M2.5 9A14 14 0 0 1 7 6.2M13 6a14 14 0 0 1 8.5 3M16 10.8a10 10 0 0 1 3 1.7M8.5 16a5 5 0 0 1 6.3-.4M12 19.5v.1',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 7v5.2l3.3 2',
  phone: 'M6 3.5h3l1.5 4.5-2 1.6a13 13 0 0 0 5.9 5.9l1.6-2 4.5 1.5v3c0 1-.8 1.9-1.9 1.9A15.6 15.6 0 0 1 4.1 5.4C4.1 4.3 5 3.5 6 3.5',
  key: 'M8.5 19a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9M11.7 11.3 19.5 3.5M16 7l3 3',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12M12 14.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6',
  save: 'M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 19.5h14',
  share: 'M12 15V4M8 7.5 12 4l4 3.5M6 11.5v8h12v-8',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  edit: 'M5 19l1-4L16 5l3 3L9 18z',
  pin: 'M12 21s6.5-6 6.5-11a6.5 6.5 0 1 0-13 0c0 5 6.5 11 6.5 11M12 12.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6',
} as const

export type IconName = keyof typeof paths

/** Drawings grow with the text: pixels as they are at its usual size. */
const rem = (pixels: number): string => `${pixels / 16}rem`

/** A drawing beside words that say the same: it is hidden from screen readers. */
export function Icon({ name, size = 20 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class="icon" width={rem(size)} height={rem(size)} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  )
}

/** The app's own mark: a line that is signed, and signed across. */
export function Mark({ size = 28 }: { size?: number }): JSX.Element {
  return (
    <svg class="mark" width={rem(size)} height={rem(size)} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M5 24h22" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" />
      <path d="m6.5 14.5 6 5.5L21 7" fill="none" stroke="currentColor" stroke-width="2.8" stroke-linecap="round" stroke-linejoin="round" />
      <path d="m14.5 19.5 2 1.5L26 9" fill="none" stroke="currentColor" stroke-width="2.8" stroke-linecap="round" stroke-linejoin="round" opacity="0.55" />
    </svg>
  )
}
