// Broker and brands: `countersign-demo hall`, which takes commands and tells events, a JSON object a line.
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { front, type Front } from './fresh.ts'

export type Brand = 'skylark' | 'hopp' | 'chirp'
export const BRANDS: readonly Brand[] = ['skylark', 'hopp', 'chirp']

/** Mei's flight, and when it was to leave: 8 March 2013, as the demo's data says. */
export const FLIGHT = 'B6 35'

/** Data that moved, verified by its recipient. */
export interface Moved {
  grant: string
  values: [string, string][]
  use_number: number
  index: number
}

export type Command =
  | { invite: { label: string; flight: string | null; return_address?: string } }
  | { offer: { row: number; optional: string[] } }
  | { confirm: { link: string; code: string } }
  | { request: { subject: string; rows: [string, boolean][] } }
  | { clock: { at: number } }
  | 'act'
  | { fetch: { grant: string; purpose: string; fields: string[] } }
  | { delete: { grant: string } }

export type Answer =
  | 'done'
  | { invited: { package: string; link: string; subject: string } }
  | { published: { offers: [number, string][] } }
  | { requested: { request: string } }
  | { told: { subjects: string[] } }
  | { fetched: Moved }
  | { refused: { reason: string; message: string } }
  | { failed: { error: string } }

export type Event =
  | { granted: { grant: string; subject: string; row: number; receives: boolean } }
  | { followed: { subject: string; row: number; moved: Moved | null } }
  | { stopped: { grant: string; subject: string; row: number } }
  | { erase_due: { grant: string } }
  | { tapped: { grant: string } }
  | { trouble: { what: string } }

interface Ready {
  /** Where the app is. */
  app: string
  /** The offers, by the number of their row. */
  offers: Record<string, string>
}

type Line =
  | { ready: Ready }
  | { answer: { id: number; answer: Answer } }
  | { event: { brand: Brand; event: Event } }

/** Someone who is linked with a brand. */
export interface Linked {
  subject: string
}

/** How long broker and brands may take until they run. */
const STARTS_WITHIN_MS = 120_000

/** How long an event may take that follows from what was just done. */
const HAPPENS_WITHIN_MS = 30_000

export class Hall {
  /** Where the app is. */
  app: string
  /** Where the broker itself is, whatever serves the app. */
  readonly broker: string
  readonly offers: Record<string, string>
  private next = 1
  private readonly waiting = new Map<number, (answer: Answer) => void>()
  private readonly heard: { brand: Brand; event: Event }[] = []
  private readonly listeners = new Set<() => void>()
  private fresh: Front | undefined

  private constructor(private readonly child: ChildProcessWithoutNullStreams, ready: Ready) {
    this.app = ready.app
    this.broker = ready.app
    this.offers = ready.offers
  }

  /** Starts everything, with further settings of the broker, and waits until it runs. */
  static async open(settings: Record<string, string> = {}): Promise<Hall> {
    const hall = await Hall.start(settings)
    if (process.env['APP'] === 'dist') {
      hall.fresh = await front(hall.app)
      hall.app = hall.fresh.address
    }
    return hall
  }

  private static async start(settings: Record<string, string>): Promise<Hall> {
    const program =
      process.env['HALL'] ??
      fileURLToPath(new URL('../../../../target/debug/countersign-demo', import.meta.url))
    if (!existsSync(program)) {
      throw new Error(`${program} is not there: cargo build -p countersignd -p countersign-demo -p countersign-cli`)
    }
    // The daemon takes what is named COUNTERSIGN_… as its configuration; those of the tests are none.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('COUNTERSIGN_')))
    const child = spawn(program, ['hall'], { stdio: 'pipe', env: { ...env, ...settings } })
    let complaints = ''
    child.stderr.on('data', (text: Buffer) => (complaints += text.toString()))
    return new Promise((resolve, reject) => {
      let hall: Hall | undefined
      const late = setTimeout(() => reject(new Error(`the hall does not open: ${complaints}`)), STARTS_WITHIN_MS)
      child.once('exit', (code) => reject(new Error(`the hall ended with ${code}: ${complaints}`)))
      createInterface({ input: child.stdout }).on('line', (text) => {
        const line = JSON.parse(text) as Line
        if ('ready' in line) {
          clearTimeout(late)
          hall = new Hall(child, line.ready)
          resolve(hall)
        } else {
          hall?.take(line)
        }
      })
    })
  }

  private take(line: Exclude<Line, { ready: Ready }>): void {
    if ('answer' in line) {
      this.waiting.get(line.answer.id)?.(line.answer.answer)
      this.waiting.delete(line.answer.id)
    } else {
      this.heard.push(line.event)
      for (const listener of this.listeners) listener()
    }
  }

  /** Has a brand do something; its answer, whatever it is. */
  ask(brand: Brand, command: Command): Promise<Answer> {
    const id = this.next++
    const answer = new Promise<Answer>((resolve) => this.waiting.set(id, resolve))
    this.child.stdin.write(`${JSON.stringify({ id, brand, command })}\n`)
    return answer
  }

  /** A brand invites the person who is signed in with it: what opens in the person's browser, and the link that comes of it. */
  async invite(brand: Brand, label: string, returnAddress?: string): Promise<{ url: string; link: string; subject: string }> {
    const answer = await this.ask(brand, { invite: { label, flight: brand === 'skylark' ? FLIGHT : null, ...(returnAddress && { return_address: returnAddress }) } })
    if (answer === 'done' || !('invited' in answer)) throw new Error(`${brand} did not invite: ${JSON.stringify(answer)}`)
    const { package: text, link, subject } = answer.invited
    return { url: `${this.app}/#countersign-invitation=${text}`, link, subject }
  }

  /** The person types the code in the brand's own app. */
  async confirm(brand: Brand, link: string, code: string): Promise<void> {
    const answer = await this.ask(brand, { confirm: { link, code } })
    if (answer !== 'done') throw new Error(`${brand} did not confirm: ${JSON.stringify(answer)}`)
  }

  /** Skylark asks for all five rows, the last of them optional; the request's name. */
  request(subject: string): Promise<string> {
    return this.put(subject, Object.entries(this.offers).map(([row, offer]): [string, boolean] => [offer, row === '5']))
  }

  /** Skylark asks for these offers, each optional or not. */
  async put(subject: string, rows: [string, boolean][]): Promise<string> {
    const answer = await this.ask('skylark', { request: { subject, rows } })
    if (answer === 'done' || !('requested' in answer)) throw new Error(`not requested: ${JSON.stringify(answer)}`)
    return answer.requested.request
  }

  /** A brand hears nothing and says nothing, until it is thawed. */
  freeze(brand: Brand): void {
    process.kill(this.processOf(brand), 'SIGSTOP')
  }
  thaw(brand: Brand): void {
    process.kill(this.processOf(brand), 'SIGCONT')
  }
  private processOf(brand: Brand): number {
    return Number(execFileSync('pgrep', ['-P', String(this.child.pid), '-f', `brand --name ${brand}`], { encoding: 'utf8' }))
  }

  /** It is this late in the story, at every brand. */
  async clock(at: number): Promise<void> {
    for (const brand of BRANDS) await this.ask(brand, { clock: { at } })
  }

  /** Waits for the first event that fits, from the beginning on. */
  async until<T>(fits: (brand: Brand, event: Event) => T | undefined): Promise<T> {
    const found = (): T | undefined => {
      for (const { brand, event } of this.heard) {
        const fit = fits(brand, event)
        if (fit !== undefined) return fit
      }
      return undefined
    }
    const already = found()
    if (already !== undefined) return already
    return new Promise((resolve, reject) => {
      const listener = () => {
        const fit = found()
        if (fit === undefined) return
        clearTimeout(late)
        this.listeners.delete(listener)
        resolve(fit)
      }
      const late = setTimeout(() => {
        this.listeners.delete(listener)
        reject(new Error(`it does not happen; what did: ${JSON.stringify(this.heard)}`))
      }, HAPPENS_WITHIN_MS)
      this.listeners.add(listener)
    })
  }

  /** Hangs up, on which everything ends in order. */
  async close(): Promise<void> {
    await this.fresh?.close()
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.stdin.end()
    await ended
  }
}
