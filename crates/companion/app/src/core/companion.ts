// Puts the verbs upon the book, the calls and the keys, and keeps them up to date.
import { CustomerService } from '../gen/countersign/v1/customer_service_pb.ts'
import { equal, hex, random, sha256 } from './bytes.ts'
import { Core } from './core.ts'
import { Failed, fail } from './errors.ts'
import { deriving } from './hkdf.ts'
import type { Companion, Options } from './index.ts'
import { askPasskey, keysRow, makePasskey, openCopy, wrapFor } from './keys.ts'
import { Store } from './store.ts'
import { toFailed } from './transport.ts'
import { brokerFile, folder } from './file.ts'
import { readTrust, trustOf, type Trust, type TrustRow } from './trust.ts'
import type { Change } from './types.ts'

export async function openCompanion(options: Options): Promise<Companion> {
  if (!globalThis.crypto?.subtle) fail({ kind: 'unsupported', missing: 'webcrypto' })
  const [store] = await Promise.all([Store.open(), probe()])
  const core = await trusting(store)
  core.languages = options.languages
  return new Opened(core)
}

/** Ed25519 by the browser: nothing stands in for it. */
async function probe(): Promise<void> {
  try {
    await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
  } catch {
    fail({ kind: 'unsupported', missing: 'ed25519' })
  }
}

/** Reads what the page is told of the broker, holds it against what this device was told the first time, and opens the core by it. */
async function trusting(store: Store): Promise<Core> {
  const [known, asked] = await Promise.all([store.get<TrustRow>('meta', 'trust'), brokerFile().catch(() => undefined)])
  const read = await told(known, asked)
  if (!read) {
    // Offline: what was read the first time.
    if (known) return Core.open(store, await trustOf(known))
    return fail({ kind: 'unreachable', offline: globalThis.navigator?.onLine === false })
  }
  const row: TrustRow = { origin: read.origin, logKeyText: read.logKeyText, address: read.address }
  // Another origin or another log's key is another broker, whoever serves the file.
  const id = ({ origin, logKeyText }: TrustRow) => `${origin} ${logKeyText}`
  if (known && id(known) !== id(read)) fail({ kind: 'otherBroker', known: known.origin, found: read.origin })
  const [core] = await Promise.all([
    Core.open(store, read),
    known?.address === read.address ? undefined : store.put({ store: 'meta', key: 'trust', value: row }),
  ])
  return core
}

/** What the file says, or nothing if it did not come. */
async function told(known: TrustRow | undefined, asked: Response | undefined): Promise<Trust | undefined> {
  if (!asked) return undefined
  if (!asked.ok) return known ? undefined : fail({ kind: 'malformed', what: 'broker.json', check: 'absent' })
  const text = await asked.text().catch(() => undefined)
  return text === undefined ? undefined : readTrust(json(text), folder())
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type Verbs = Omit<Companion, 'status' | 'called' | 'setLanguage' | 'watch'>

class Opened implements Companion {
  private watching = false

  constructor(private readonly core: Core) {
    globalThis.addEventListener?.('online', () => void this.catchUp())
    if (core.keys && !core.over) void this.catchUp()
  }

  status() {
    return this.core.status()
  }
  setLanguage(languages: readonly string[]) {
    this.core.languages = languages
  }
  called(partner: string) {
    return this.core.partners[partner]?.displayName ?? partner.slice(partner.indexOf('/') + 1)
  }
  watch(callback: (change: Change) => void) {
    const end = this.core.watch(callback)
    void this.stay()
    return end
  }

  async firstUse(where: 'passkey' | 'device', label: string) {
    const { core } = this
    if (core.keys && !core.over) return fail({ kind: 'notNow', name: core.keys.customer, problem: 'nothing' })
    const settings = await import('./settings.ts')
    settings.checkLabel(label)
    const bytes = random(32)
    try {
      const root = await deriving(bytes)
      if (where === 'device') await core.store.begin(await keysRow('device', root))
      else {
        const made = await makePasskey(label)
        const wrapped = await wrapFor(made, core.origin, bytes)
        await core.store.begin({ ...(await keysRow('passkey', root)), credential: made.credential, authenticator: made.id, wrapped })
        await core.reload()
        await settings.signFirst(core, await settings.addition(core, made.id, wrapped, label))
      }
    } finally {
      bytes.fill(0)
    }
    await core.reload()
    // All of it is on disk: what was made is not lost to an answer that does not come, and goes on by itself then.
    try {
      await this.register()
    } finally {
      // Not before: a screen that asks for her things while the broker does not know her yet would be refused them.
      core.tell({ what: 'status' })
      void this.stay()
    }
    await settings.settleIdentity(core)
  }

  private async register(): Promise<void> {
    const { core } = this
    if (await core.store.get<boolean>('meta', 'registered')) return
    const name = core.customer
    const answered = await core.client(CustomerService).createCustomer({ customer: { name, publicKey: core.callKey.bytes } })
    if (answered.name !== name) fail({ kind: 'misbehaved', who: 'broker', what: 'customer', check: 'name' })
    await core.store.put({ store: 'meta', key: 'registered', value: true })
    // What was refused to somebody unknown can be asked for again.
    for (const what of ['requests', 'grants', 'links', 'timeline', 'settings'] as const) core.tell({ what })
  }

  async unlock() {
    const { core } = this
    const authenticator = await askPasskey()
    let copy
    try {
      // Needs no token: the lookup secret is as good as one.
      copy = await core.client(CustomerService).getWrappedCopy({ lookup: authenticator.lookup })
    } catch (thrown) {
      const failed = toFailed(thrown)
      if (failed.error.kind === 'refused' && failed.error.reason === 'RESOURCE_UNKNOWN') return fail({ kind: 'notMine' })
      throw failed
    }
    const { keys, root, bytes } = await openCopy(authenticator, core.origin, copy.wrapped, copy.customer)
    bytes.fill(0)
    if (core.keys && core.keys.customer !== keys.customer) return fail({ kind: 'notMine' })
    const before = core.keys
    await core.store.put({ store: 'meta', key: 'keys', value: keys }, { store: 'meta', key: 'registered', value: true })
    await core.reload()
    try {
      // The chain that the customer signed must know this authenticator with this very copy.
      const { identity } = await import('./settings.ts')
      const known = (await identity(core)).present.get(hex(authenticator.id))
      if (!known || !equal(known.wrapped, await sha256(copy.wrapped))) fail({ kind: 'misbehaved', who: 'broker', what: 'wrapped_copy', check: 'authenticator' })
    } catch (thrown) {
      await core.store.put({ store: 'meta', key: 'keys', value: before })
      await core.reload()
      throw thrown
    }
    await (await import('./links.ts')).learnLinks(core, root)
    core.tell({ what: 'status' })
    void this.stay()
  }

  readInvitation: Verbs['readInvitation'] = async (text) => (await import('./links.ts')).readInvitation(this.core, text)
  acceptInvitation: Verbs['acceptInvitation'] = async () => (await import('./links.ts')).acceptInvitation(this.core)
  links: Verbs['links'] = async () => (await import('./links.ts')).links(this.core)

  seen: Verbs['seen'] = async () => {
    if (this.core.status().lastSeen === undefined) return undefined
    const [{ requestsSeen }, { grantsSeen }, { linksSeen }] = await Promise.all([import('./requests.ts'), import('./grants.ts'), import('./links.ts')])
    const [requests, grants, links] = await Promise.all([requestsSeen(this.core), grantsSeen(this.core), linksSeen(this.core)])
    return { requests, grants, links }
  }
  requests: Verbs['requests'] = async () => (await import('./requests.ts')).requests(this.core)
  readRequest: Verbs['readRequest'] = async (name) => {
    // What is read is chosen from without another load: `choose` waits for nothing.
    const [requests, approve] = await Promise.all([import('./requests.ts'), import('./approve.ts')])
    this.chooser = approve.choose
    return requests.readRequest(this.core, name)
  }
  private chooser: typeof import('./approve.ts').choose | undefined
  choose: Verbs['choose'] = (request, choice) => (this.chooser ?? fail({ kind: 'malformed', what: 'choice', check: 'request' }))(this.core, request, choice)
  approve: Verbs['approve'] = async (request, choice) => (await import('./approve.ts')).approve(this.core, request, choice)
  refuse: Verbs['refuse'] = async (name) => (await import('./requests.ts')).refuse(this.core, name)
  defer: Verbs['defer'] = async (name) => (await import('./requests.ts')).defer(this.core, name)
  preview: Verbs['preview'] = async (request, row, fields) => (await import('./preview.ts')).preview(this.core, request, row, fields)
  receipt: Verbs['receipt'] = async (name) => (await import('./approve.ts')).receipt(this.core, name)

  grants: Verbs['grants'] = async () => (await import('./grants.ts')).grants(this.core)
  grant: Verbs['grant'] = async (name) => (await import('./grants.ts')).grant(this.core, name)
  pause: Verbs['pause'] = async (name) => (await import('./changes.ts')).pause(this.core, name)
  resume: Verbs['resume'] = async (name) => (await import('./changes.ts')).resume(this.core, name)
  stop: Verbs['stop'] = async (name, { erase = false } = {}) => (await import('./changes.ts')).stop(this.core, name, erase)
  stopAll: Verbs['stopAll'] = async ({ erase = false } = {}) => (await import('./changes.ts')).stopAll(this.core, erase)
  follow: Verbs['follow'] = (name, callback) => {
    let end: (() => void) | undefined
    let ended = false
    void import('./changes.ts').then(({ follow }) => {
      if (!ended) end = follow(this.core, name, callback)
    })
    return () => {
      ended = true
      end?.()
    }
  }
  narrow: Verbs['narrow'] = async (name, narrowing) => (await import('./changes.ts')).narrow(this.core, name, narrowing)
  tap: Verbs['tap'] = async (name) => (await import('./preview.ts')).tap(this.core, name)
  erasures: Verbs['erasures'] = async () => (await import('./grants.ts')).erasures(this.core)

  timeline: Verbs['timeline'] = async (query) => (await import('./timeline.ts')).timeline(this.core, query)
  proofOf: Verbs['proofOf'] = async (handle) => (await import('./timeline.ts')).proofOf(this.core, handle)

  settings: Verbs['settings'] = async () => (await import('./settings.ts')).settings(this.core)
  setAsking: Verbs['setAsking'] = async (asking) => (await import('./settings.ts')).setAsking(this.core, asking)
  endSilence: Verbs['endSilence'] = async (partner) => (await import('./settings.ts')).endSilence(this.core, partner)
  addAuthenticator: Verbs['addAuthenticator'] = async (label) => (await import('./settings.ts')).addAuthenticator(this.core, label)
  removeAuthenticator: Verbs['removeAuthenticator'] = async (id) => (await import('./settings.ts')).removeAuthenticator(this.core, id)
  reportStolen: Verbs['reportStolen'] = async () => (await import('./leave.ts')).reportStolen(this.core)
  exportAll: Verbs['exportAll'] = async (progress) => (await import('./export.ts')).exportAll(this.core, progress)
  closeAccount: Verbs['closeAccount'] = async ({ anyway = false } = {}) => (await import('./leave.ts')).closeAccount(this.core, anyway)
  async forget() {
    await this.core.store.clear()
    const { trust: now } = this.core
    await this.core.store.put({ store: 'meta', key: 'trust', value: { origin: now.origin, logKeyText: now.logKeyText, address: now.address } satisfies TrustRow })
    await this.core.reload()
    this.core.tell({ what: 'status' })
  }

  /** What was cut off goes on: registration, a change of passkeys, stops that wait. */
  private async catchUp(): Promise<void> {
    const { core } = this
    try {
      if (!core.keys || core.over) return
      await this.register()
      await (await import('./settings.ts')).settleIdentity(core)
      await (await import('./changes.ts')).sendQueued(core)
    } catch (thrown) {
      // It goes on with the next connection.
      if (!(thrown instanceof Failed)) throw thrown
    }
  }

  private async stay(): Promise<void> {
    if (this.watching || !this.core.keys || this.core.over) return
    this.watching = true
    try {
      await (await import('./live.ts')).following(this.core, () => this.catchUp())
    } finally {
      this.watching = false
    }
  }
}
