import type { JSX } from 'preact'
import { useApp } from '../context'
import type { BrandView as Brand } from '../../core/index.ts'
import { Icon } from './icon'

const initial = (brand: Brand): string => Array.from(brand.displayName)[0]?.toLocaleUpperCase() ?? '?'

/** A brand's letter in a plain tile. */
export const Tile = ({ brand }: { brand: Brand }): JSX.Element => (
  <span class="tile" aria-hidden="true">
    {initial(brand)}
  </span>
)

/** Who gives and who receives. */
export function Way({ source, recipient, tiles = true }: { source: Brand; recipient: Brand; tiles?: boolean }): JSX.Element {
  const { say } = useApp()
  return (
    <span class="way">
      {tiles && (
        <span class="tiles">
          <Tile brand={source} />
          <Tile brand={recipient} />
        </span>
      )}
      <span class="names">
        <span class="unseen">{say.app.gives(source.displayName, recipient.displayName)}</span>
        <span aria-hidden="true">{source.displayName}</span>
        <Icon name="arrow" size={16} />
        <span aria-hidden="true">{recipient.displayName}</span>
      </span>
    </span>
  )
}
