// For whoever works on the app: its newest build in front of a broker that has an older one embedded, at one address and under
// the headers that the broker itself serves it with. `APP=dist npm run e2e` uses it; without that, tests see what is embedded.
import { existsSync, readFileSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))

const TYPES: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  webmanifest: 'application/manifest+json',
}

/** What the broker says of a page, beside what that page is. */
const GUARDS = ['content-security-policy', 'cross-origin-opener-policy', 'cross-origin-resource-policy', 'permissions-policy', 'referrer-policy', 'x-content-type-options']

export interface Front {
  address: string
  close(): Promise<void>
}

/** The app on a host of its own, as its README says to: its files, a `broker.json` that names the broker, and the policy. */
export async function elsewhere(): Promise<Front & { point: (broker: string) => Promise<void>; serve: (path: string, text: string) => void; asked: string[] }> {
  const asked: string[] = []
  const newer = new Map<string, string>()
  let file = ''
  let guards: [string, string][] = []
  const server = createServer((request, answer) => {
    const url = request.url ?? ''
    asked.push(url)
    if (url === '/broker.json' && file) answer.setHeader('content-type', 'application/json').end(file)
    else if (newer.has(url)) answer.setHeader('cache-control', 'no-cache').end(newer.get(url))
    else if (!fromDist(request, answer, guards)) answer.writeHead(404).end()
  })
  const address = await listening(server)
  const point = async (broker: string) => {
    const [page, told] = await Promise.all([fetch(broker), fetch(`${broker}/broker.json`)])
    guards = guardsOf(page).map(([name, value]) => [name, value.replace("connect-src 'self'", `connect-src 'self' ${broker}`)])
    file = JSON.stringify({ ...((await told.json()) as object), address: broker })
  }
  return { address, point, serve: (path, text) => void newer.set(path, text), asked, close: () => closed(server) }
}

export async function front(broker: string): Promise<Front> {
  const page = await fetch(broker)
  const guards = guardsOf(page)
  const server = createServer((asked, answer) => {
    if (asked.method !== 'GET' || asked.url === '/broker.json' || !fromDist(asked, answer, guards)) pass(broker, asked, answer)
  })
  return { address: await listening(server), close: () => closed(server) }
}

const guardsOf = (page: Response): [string, string][] =>
  GUARDS.flatMap((name): [string, string][] => {
    const value = page.headers.get(name)
    return value === null ? [] : [[name, value]]
  })

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const { port } = server.address() as AddressInfo
  return `http://localhost:${port}`
}

function fromDist(asked: IncomingMessage, answer: ServerResponse, guards: [string, string][]): boolean {
  const path = new URL(asked.url ?? '/', 'http://front').pathname.slice(1) || 'index.html'
  // Names as the build makes them: nothing of a path leads out of its folder.
  if (!/^(assets\/)?[\w.-]+$/.test(path)) return false
  const file = `${DIST}${path}`
  if (!existsSync(file)) return false
  const packed = existsSync(`${file}.br`)
  if (packed) answer.setHeader('content-encoding', 'br')
  const bytes = readFileSync(packed ? `${file}.br` : file)
  for (const [name, value] of guards) answer.setHeader(name, value)
  answer.setHeader('content-type', TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'application/octet-stream')
  answer.setHeader('cache-control', 'no-cache')
  answer.end(bytes)
  return true
}

/** All else is the broker's, headers and all: so the page's own address stays its origin. */
function pass(broker: string, asked: IncomingMessage, answer: ServerResponse): void {
  const { port } = new URL(broker)
  const { method, url, headers } = asked
  const onward = request({ host: '127.0.0.1', port, method, path: url, headers }, (came) => {
    answer.writeHead(came.statusCode ?? 502, came.headers)
    came.pipe(answer)
  })
  onward.on('error', () => answer.destroy())
  answer.on('close', () => onward.destroy())
  asked.pipe(onward)
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}
