// Keeps the app's own files, so that it opens without a network: those that `listing.txt` names, each with the hash that stands
// there, and nothing else. No answer of a broker, no setting and no address ever gets in here.

const LISTING = 'listing.txt'
const NAME = 'countersign-'

self.addEventListener('install', (event) => event.waitUntil(refresh().then(() => self.skipWaiting())))
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))

self.addEventListener('fetch', (event) => {
  const { request } = event
  if (request.method !== 'GET' || !request.url.startsWith(self.registration.scope)) return
  if (request.mode === 'navigate') {
    event.respondWith(kept('index.html').then((file) => file ?? fetch(request)))
    event.waitUntil(refresh().catch(() => {}))
    return
  }
  const path = new URL(request.url).pathname.slice(new URL(self.registration.scope).pathname.length)
  // Only names that hold a hash: such a file never changes.
  if (path.startsWith('assets/')) event.respondWith(kept(path).then((file) => file ?? fetch(request)))
})

/** A file of the newest whole set. */
async function kept(path) {
  const name = await current()
  return name && (await caches.open(name)).match(address(path))
}

async function current() {
  const names = (await caches.keys()).filter((name) => name.startsWith(NAME))
  for (const name of names.reverse()) if (await (await caches.open(name)).match(address(LISTING))) return name
  return undefined
}

/** Fetches the set that is served now, if it is another one; the old one goes when the new one is whole. */
async function refresh() {
  const answer = await fetch(address(LISTING), { cache: 'no-store', credentials: 'omit' })
  if (!answer.ok) return
  const listing = await answer.text()
  const name = NAME + (await sha256(new TextEncoder().encode(listing)))
  const before = await current()
  if (before === name) return
  const cache = await caches.open(name)
  for (const line of listing.trim().split('\n')) {
    const [hash, path] = line.split('  ')
    if (path === 'broker.json' || path === 'sw.js') continue
    const file = await fetch(address(path), { cache: 'no-cache', credentials: 'omit' })
    const bytes = await file.clone().arrayBuffer()
    // A host that mixes two builds, or a cut line: the set is given up, and tried again with the next visit.
    if (!file.ok || (await sha256(bytes)) !== hash) {
      await caches.delete(name)
      return
    }
    await cache.put(address(path), file)
  }
  await cache.put(address(LISTING), new Response(listing))
  for (const old of await caches.keys()) if (old.startsWith(NAME) && old !== name) await caches.delete(old)
  if (before) for (const client of await self.clients.matchAll()) client.postMessage('countersign:updated')
}

const address = (path) => new URL(path, self.registration.scope).href

async function sha256(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
