// The app in a real Chromium, against a real broker and the demo's brands: `npm run e2e`, or as part of `cargo xtask test`.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  test: {
    include: ['e2e/**/*.test.ts'],
    environment: 'node',
    // One browser and one broker at a time: they are the machine's heaviest processes.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
})
