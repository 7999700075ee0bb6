// Mei: a person with a phone, who finds her way by what stands on the screen.
import type { Locator, Page } from 'playwright-core'
import { en as say } from '../src/ui/messages/en.ts'
import type { Brand, Hall } from './hall.ts'
import type { Phone } from './phone.ts'

/** What the brands are called on the screen. */
export const CALLED: Record<Brand, string> = { skylark: 'Skylark Air', hopp: 'Hopp Rides', chirp: 'Chirp' }

/** How long a step may take on a machine that is busy with other things too. */
const WITHIN = 30_000

export class Mei {
  readonly page: Page
  /** Her handle at each brand, which only the brand knows. */
  readonly subjects: Partial<Record<Brand, string>> = {}

  constructor(
    private readonly hall: Hall,
    phone: Phone,
  ) {
    this.page = phone.page
    this.page.setDefaultTimeout(WITHIN)
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name, exact: true })
  }

  heading(name: string): Locator {
    return this.page.getByRole('heading', { name, exact: true })
  }

  /** Opens the app as from the home screen. */
  async open(fragment = ''): Promise<void> {
    // A page of its own first, so that another fragment of the same address is a visit too.
    await this.page.goto('about:blank')
    await this.page.goto(`${this.hall.app}/${fragment}`)
  }

  /** First use: a passkey, and nothing else. */
  async begin(): Promise<void> {
    await this.open()
    await this.button(say.welcome.create).click()
    await this.heading(say.home.title).waitFor()
  }

  /** Follows a brand's invitation, and types the code in the brand's own app. */
  async link(brand: Brand, label = 'Mei, frequent flyer'): Promise<void> {
    const { url, link, subject } = await this.hall.invite(brand, label)
    await this.page.goto('about:blank')
    await this.page.goto(url)
    await this.page.getByText(label).first().waitFor()
    await this.button(say.link.accept).click()
    await this.heading(say.link.codeTitle(CALLED[brand])).waitFor()
    await this.hall.confirm(brand, link, await this.code())
    await this.page.getByText(say.link.confirmed(CALLED[brand])).first().waitFor()
    this.subjects[brand] = subject
  }

  /** The six digits on the screen, in however many groups. */
  private async code(): Promise<string> {
    const text = await this.page.locator('main').innerText()
    const found = /(?<!\d)(\d{3})\s?(\d{3})(?!\d)/.exec(text)
    if (!found) throw new Error(`no code on the screen: ${text}`)
    return `${found[1]}${found[2]}`
  }

  /** Skylark asks for her airport rides; she opens it from the home screen. */
  async opensRequest(): Promise<void> {
    const subject = this.subjects.skylark
    if (subject === undefined) throw new Error('she is not linked with Skylark')
    await this.hall.request(subject)
    await this.open()
    await this.page.getByRole('link', { name: say.home.asks(CALLED.skylark) }).click()
    await this.heading(say.request.title(CALLED.skylark)).waitFor()
  }

  /** Approves what is switched on: rows 1 to 4. */
  async approves(): Promise<void> {
    await this.button(say.request.approve).click()
    await this.heading(say.receipt.title).waitFor()
  }
}
