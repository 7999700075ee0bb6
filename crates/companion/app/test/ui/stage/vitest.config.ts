// `npm run screenshots`: every screen in every language, size and scheme, as pictures, and with axe-core on each.
import { defineConfig } from 'vitest/config'

export default defineConfig({ test: { include: ['test/ui/stage/*.shots.ts'], fileParallelism: false, testTimeout: 900_000, hookTimeout: 120_000 } })
