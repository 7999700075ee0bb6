// What the daemon serves, as a real browser sees it: the app under its policy, the API behind it, a passkey that keys come of.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { en as say } from '../src/ui/messages/en.ts'
import { Hall } from './hall.ts'
import { Phone } from './phone.ts'

let hall: Hall
let phone: Phone

beforeAll(async () => {
  hall = await Hall.open()
  phone = await Phone.start()
})

afterAll(async () => {
  await phone?.stop()
  await hall?.close()
})

test('the app is drawn under its policy, and nothing complains', async () => {
  const response = await phone.page.goto(hall.app)
  expect(response?.status()).toBe(200)
  const policy = response?.headers()['content-security-policy'] ?? ''
  expect(policy).toContain("frame-ancestors 'none'")
  expect(policy).not.toContain('unsafe')
  await phone.page.getByRole('button', { name: say.welcome.create }).waitFor()
  // What the page itself draws first has given way.
  expect(await phone.page.locator('main').count()).toBe(1)
  expect(phone.faults).toEqual([])
})

test('a script of its page calls the API, and reads a refusal', async () => {
  const answer = await phone.page.evaluate(async () => {
    const response = await fetch('/countersign.v1.CatalogueService/ListCatalogues', {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' },
      body: new Uint8Array(5),
    })
    return { status: response.status, grpc: response.headers.get('grpc-status'), why: response.headers.get('grpc-message') }
  })
  expect(answer).toMatchObject({ status: 200, grpc: '16' })
  expect(answer.why).toContain('token')
})

test('what the app must know of the broker is beside it', async () => {
  const file = await phone.page.evaluate(async () => (await fetch('/broker.json')).json() as Promise<unknown>)
  expect(file).toEqual({
    origin: 'demo.countersign.example/log',
    log_verifier_key: expect.stringMatching(/^demo\.countersign\.example\/log\+[0-9a-f]{8}\+/),
    broker_public_key: expect.stringMatching(/^[\w-]{43}$/),
  })
})

test('inline script, and text as markup, are refused', async () => {
  const ran = await phone.page.evaluate(() => {
    const script = document.createElement('script')
    const blocked: string[] = []
    try {
      script.text = 'window.ran = true'
    } catch (error) {
      blocked.push((error as Error).name)
    }
    document.body.append(script)
    try {
      document.body.innerHTML = '<p>text</p>'
    } catch (error) {
      blocked.push((error as Error).name)
    }
    return { blocked, ran: 'ran' in window }
  })
  expect(ran).toEqual({ blocked: ['TypeError', 'TypeError'], ran: false })
})

test('a passkey gives the same 32 bytes each time', async () => {
  const values = await phone.page.evaluate(async () => {
    const salt = new Uint8Array(32).fill(7)
    const created = (await navigator.credentials.create({
      publicKey: {
        challenge: new Uint8Array(32),
        rp: { name: 'Countersign' },
        user: { id: new Uint8Array(16).fill(1), name: 'Mei', displayName: 'Mei' },
        pubKeyCredParams: [{ type: 'public-key', alg: -8 }, { type: 'public-key', alg: -7 }],
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
        extensions: { prf: {} },
      },
    })) as PublicKeyCredential
    const found: string[] = []
    for (let time = 0; time < 2; time++) {
      const got = (await navigator.credentials.get({
        publicKey: {
          challenge: new Uint8Array(32),
          allowCredentials: [{ type: 'public-key', id: created.rawId }],
          userVerification: 'required',
          extensions: { prf: { eval: { first: salt } } },
        },
      })) as PublicKeyCredential
      const first = got.getClientExtensionResults().prf?.results?.first
      found.push(first ? String(new Uint8Array(first as ArrayBuffer)) : 'none')
    }
    return found
  })
  expect(values[0]?.split(',')).toHaveLength(32)
  expect(values[1]).toBe(values[0])
  expect(await phone.passkeys()).toBe(1)
})
