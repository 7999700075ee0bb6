// How the app becomes the files that a browser is given. The same input gives the same bytes: no date, no random id
// and no absolute path gets in, and every version is pinned by package-lock.json.
import { defineConfig } from 'vite'

/** Where `npm run dev` finds a broker, and that broker's `broker.json`. */
const BROKER = process.env['COUNTERSIGN_BROKER'] ?? 'http://127.0.0.1:7443'

export default defineConfig({
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    // A data: URL for an image would need a wider policy than the one the app is served under.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: true,
    // weigh.mjs reads which chunk needs which.
    manifest: true,
    sourcemap: false,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '^/countersign\\.': BROKER,
      '/broker.json': BROKER,
    },
  },
})
