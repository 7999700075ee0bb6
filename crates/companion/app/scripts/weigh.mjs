// After `vite build`: compresses what a browser is sent, writes down what was built, and holds the app to its size.
//
// `dist/listing.txt` has a line `<sha256>  <path>` for each file, sorted, as sha256sum writes it; the sha256 of that
// file names the build. Compressed copies are left out: they follow from their files.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

const DIST = new URL('../dist/', import.meta.url).pathname

/** Committed with a release: the name of its build, as sha256sum writes it. */
const RELEASED = new URL('../../release.sha256', import.meta.url).pathname

/** Script over the wire before first use, in bytes: what a phone on 1.6 Mbit/s has within a third of a second. */
const MOST_SCRIPT = 60 * 1024

/** Beside what the page itself names, a first visit needs one of these; the largest counts. `e2e/budget.test.ts` sums what a browser is sent. */
const LANGUAGES = ['src/ui/messages/en.ts', 'src/ui/messages/zh-Hans.ts', 'src/ui/messages/ja.ts']

/** What is worth compressing, by the end of its name. */
const TEXT = /\.(html|js|css|svg|json|webmanifest|txt)$/

const manifestPath = join(DIST, '.vite/manifest.json')
const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'))
rmSync(join(DIST, '.vite'), { recursive: true })

const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(DIST, join(entry.parentPath, entry.name)).split(sep).join('/'))
  .filter((path) => !path.endsWith('.br') && path !== 'listing.txt' && !path.startsWith('.'))
  .sort()

const listing = files.map((path) => `${sha256(readFileSync(join(DIST, path)))}  ${path}\n`).join('')
writeFileSync(join(DIST, 'listing.txt'), listing)

const weights = new Map()
for (const path of [...files, 'listing.txt']) {
  if (!TEXT.test(path)) continue
  const packed = compress(readFileSync(join(DIST, path)))
  writeFileSync(join(DIST, `${path}.br`), packed)
  weights.set(path, packed.length)
}

const named = [...readFileSync(join(DIST, 'index.html'), 'utf8').matchAll(/(?:src|href)="\.\/(assets\/[^"]+\.js)"/g)].map(([, path]) => path)
const language = LANGUAGES.map(chunk).reduce((one, other) => (weight(one) >= weight(other) ? one : other))
const first = new Set([...named, language])
const before = [...first].reduce((sum, path) => sum + weight(path), 0)
const scripts = files.filter((path) => path.endsWith('.js'))
const all = scripts.reduce((sum, path) => sum + weight(path), 0)

for (const path of scripts) {
  console.log(`${String(weight(path)).padStart(8)} B  ${path}${first.has(path) ? '  (before first use)' : ''}`)
}
console.log(`script before first use: ${before} B brotli, at most ${MOST_SCRIPT} B; all script: ${all} B`)
const name = sha256(listing)
console.log(`sha256 of dist/listing.txt: ${name}`)
if (process.argv.includes('--release')) writeFileSync(RELEASED, `${name}  dist/listing.txt\n`)
else if (existsSync(RELEASED)) {
  console.log(readFileSync(RELEASED, 'utf8').startsWith(name) ? 'This is the build that was released.' : 'This is not the build that was released.')
}
if (before > MOST_SCRIPT) {
  console.error(`The app is ${before - MOST_SCRIPT} B too large. Move what a first visit doesn't need behind import().`)
  process.exit(1)
}

/** A source's own chunk, which must need no other than the page names. */
function chunk(source) {
  const { file, imports = [] } = manifest[source] ?? {}
  if (!file) throw new Error(`${source} is no chunk of the build: weigh.mjs names what a first visit needs`)
  for (const key of imports) if (!named.includes(manifest[key].file)) throw new Error(`${source} needs ${manifest[key].file}, which the page doesn't name`)
  return file
}

function weight(path) {
  const bytes = weights.get(path)
  if (bytes === undefined) throw new Error(`${path} is script but was not compressed`)
  return bytes
}

function compress(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  return brotliCompressSync(bytes, { params })
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}
