// The app in a real Chromium, against a real broker and the demo's brands: `npm run e2e`, or as part of `cargo xtask test`.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  test: {
    // Every screen upon the fake core as well, in one look and one language, without pictures: `npm run screenshots` goes through them all.
    include: ['e2e/**/*.test.ts', 'test/ui/stage/*.shots.ts'],
    env: { COUNTERSIGN_SHOTS: 'none', COUNTERSIGN_LOOKS: 'phone-light', COUNTERSIGN_LANGUAGES: 'en' },
    environment: 'node',
    // One browser and one broker at a time: they are the machine's heaviest processes.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
})
