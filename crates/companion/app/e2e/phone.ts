// A phone: Chromium with a screen of that size, an authenticator of its own, and an ear for what a page must never do.
import { existsSync } from 'node:fs'
import axe from 'axe-core'
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from 'playwright-core'

const FOUND = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

export interface Kind {
  /** Whether its passkeys give a secret for keys (PRF). */
  prf?: boolean
  width?: number
  height?: number
  colorScheme?: 'light' | 'dark'
  reducedMotion?: 'reduce' | 'no-preference'
  locale?: string
}

export class Phone {
  /** What no page of ours may ever cause: policy violations, uncaught errors, messages of error on the console. */
  readonly faults: string[] = []

  private constructor(
    private readonly browser: Browser,
    readonly context: BrowserContext,
    readonly page: Page,
    readonly devtools: CDPSession,
    private readonly authenticator: string,
  ) {}

  static async start(kind: Kind = {}): Promise<Phone> {
    const executablePath = process.env['CHROMIUM'] ?? FOUND.find((path) => existsSync(path))
    if (!executablePath) throw new Error('no Chromium: sudo apt-get install chromium, or name one in CHROMIUM')
    const browser = await chromium.launch({
      executablePath,
      // As root, in a container, Chromium has no sandbox to offer.
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    })
    const context = await browser.newContext({
      viewport: { width: kind.width ?? 390, height: kind.height ?? 844 },
      locale: kind.locale ?? 'en-US',
      timezoneId: 'America/New_York',
      colorScheme: kind.colorScheme ?? 'light',
      reducedMotion: kind.reducedMotion ?? 'reduce',
    })
    const page = await context.newPage()
    const devtools = await context.newCDPSession(page)
    await devtools.send('WebAuthn.enable')
    const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        ctap2Version: 'ctap2_1',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        hasPrf: kind.prf ?? true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    })
    const phone = new Phone(browser, context, page, devtools, authenticatorId)
    page.on('pageerror', (error) => phone.faults.push(`uncaught: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error') phone.faults.push(`console: ${message.text()}`)
    })
    return phone
  }

  /** Whether the person, asked for the passkey, gives it. */
  async willConfirm(yes: boolean): Promise<void> {
    const { authenticator: authenticatorId } = this
    await this.devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: yes })
  }

  /** How many passkeys it keeps. */
  async passkeys(): Promise<number> {
    const { authenticator: authenticatorId } = this
    const { credentials } = await this.devtools.send('WebAuthn.getCredentials', { authenticatorId })
    return credentials.length
  }

  /** What axe finds on the page as it stands, by the rules of WCAG 2.2 AA: rule, and where. */
  async axe(): Promise<string[]> {
    // As a debugger's script, which no policy of the page concerns.
    await this.page.evaluate(axe.source)
    return this.page.evaluate(async () => {
      const { run } = (window as unknown as { axe: typeof axe }).axe
      const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
      const { violations } = await run(document, { runOnly: { type: 'tag', values: tags } })
      return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(' ')}: ${node.failureSummary ?? ''}`))
    })
  }

  /** Slows it down to a phone of the middle range on a bad mobile network. */
  async slowDown(): Promise<void> {
    await this.devtools.send('Emulation.setCPUThrottlingRate', { rate: 4 })
    const bytesPerSecond = 1_600_000 / 8
    await this.devtools.send('Network.enable')
    await this.devtools.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 150,
      downloadThroughput: bytesPerSecond,
      uploadThroughput: bytesPerSecond,
    })
  }

  /** Ends what `slowDown` began. */
  async fullSpeed(): Promise<void> {
    await this.devtools.send('Emulation.setCPUThrottlingRate', { rate: 1 })
    await this.devtools.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 })
  }

  async stop(): Promise<void> {
    await this.browser.close()
  }
}
