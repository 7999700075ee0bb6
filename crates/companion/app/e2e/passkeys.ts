// Passkeys made of memory, where there is no browser.

/** Those of one person: by id, what the PRF gives for the app's one input. */
export class Passkeys {
  private readonly secrets = new Map<string, Uint8Array<ArrayBuffer>>()
  /** How often a gesture was asked for. */
  asked = 0
  dismissed = false

  /** What the first of them gives. */
  get secret(): Uint8Array {
    return [...this.secrets.values()][0]!
  }

  /** Puts them where a browser has them. */
  install(): void {
    Object.assign(globalThis, { PublicKeyCredential: class {} })
    Object.defineProperty(globalThis, 'navigator', { value: { credentials: this, onLine: true, languages: ['en'] }, configurable: true })
  }

  private answer(id: Uint8Array<ArrayBuffer>, secret: Uint8Array<ArrayBuffer>) {
    const results = { prf: { enabled: true, results: { first: secret.slice().buffer } } }
    return Object.assign(new PublicKeyCredential(), { rawId: id.buffer, getClientExtensionResults: () => results })
  }
  private gesture(): void {
    this.asked += 1
    if (this.dismissed) throw new DOMException('no', 'NotAllowedError')
  }
  create = () => {
    this.gesture()
    const [id, secret] = [crypto.getRandomValues(new Uint8Array(16)), crypto.getRandomValues(new Uint8Array(32))]
    this.secrets.set(String(id), secret)
    return Promise.resolve(this.answer(id, secret))
  }
  get = ({ publicKey }: { publicKey: { allowCredentials: { id: Uint8Array }[] } }) => {
    this.gesture()
    const wanted = publicKey.allowCredentials[0]?.id
    const found = [...this.secrets].find(([one]) => !wanted || one === String(wanted))
    if (!found) throw new DOMException('none', 'NotAllowedError')
    return Promise.resolve(this.answer(Uint8Array.from(found[0].split(','), Number), found[1]))
  }
}
