import type { Companion, Options } from './index.ts'

export function openCompanion(_options: Options): Promise<Companion> {
  throw new Error('not yet')
}
