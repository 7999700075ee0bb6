// Tests that need no browser: `test/**`. A file that draws starts with `// @vitest-environment happy-dom`.
import { defineConfig, mergeConfig } from 'vitest/config'
import vite from './vite.config.ts'

export default mergeConfig(
  vite,
  defineConfig({ test: { include: ['test/**/*.test.{ts,tsx}'], environment: 'node', passWithNoTests: false } }),
)
