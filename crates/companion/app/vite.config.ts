// How the app becomes the files that a browser is given. The same input gives the same bytes: no date, no random id
// and no absolute path gets in, and every version is pinned by package-lock.json.
import { defineConfig, type HtmlTagDescriptor, type Plugin } from 'vite'

/** Where `npm run dev` finds a broker, and that broker's `broker.json`. */
const BROKER = process.env['COUNTERSIGN_BROKER'] ?? 'http://127.0.0.1:7443'

/** What every visit loads behind import(): named in the page itself, it comes along with the entry and not after it. */
const FIRST = '/src/ui/first.tsx'

/** The entry and what it runs before that has come. */
const EARLY = /rolldown\/runtime\.js$|\/src\/(main\.tsx|core\/file\.ts|ui\/(invitation|preferences)\.ts|ui\/messages\/(index|plurals)\.ts)$/

function together(): Plugin {
  return {
    name: 'together',
    transformIndexHtml: {
      order: 'post',
      handler(_html, { bundle }): HtmlTagDescriptor[] {
        const found = new Set<string>()
        const visit = (file: string) => {
          const chunk = bundle?.[file]
          if (chunk?.type !== 'chunk' || found.has(file)) return
          if (!chunk.isEntry) found.add(file)
          chunk.imports.forEach(visit)
        }
        for (const chunk of Object.values(bundle ?? {})) {
          if (chunk.type === 'chunk' && Object.keys(chunk.modules).some((id) => id.endsWith(FIRST))) visit(chunk.fileName)
        }
        const ahead = (attrs: Record<string, string | true>): HtmlTagDescriptor => ({ tag: 'link', attrs: { ...attrs, crossorigin: true }, injectTo: 'head' })
        return [
          // As `core/file.ts` asks for it.
          ahead({ rel: 'preload', as: 'fetch', href: './broker.json' }),
          ...[...found].sort().map((file) => ahead({ rel: 'modulepreload', href: `./${file}` })),
        ]
      },
    },
  }
}

export default defineConfig({
  base: './',
  plugins: [together()],
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
    rolldownOptions: {
      output: {
        // A first visit is two files, whatever else of the app shares their modules: each file costs a round trip's turn.
        codeSplitting: {
          groups: [
            { name: 'early', test: EARLY, priority: 2 },
            { name: 'first', test: (id) => id.endsWith(FIRST), priority: 1 },
          ],
        },
      },
    },
  },
  server: {
    proxy: {
      '^/countersign\\.': BROKER,
      '/broker.json': BROKER,
    },
  },
})
