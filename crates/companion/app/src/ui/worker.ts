/** The one address that the app's Trusted Types policy lets become a worker. */
const WORKER = './sw.js'

interface Policies {
  createPolicy(name: string, rules: { createScriptURL: (address: string) => string }): { createScriptURL: (address: string) => string }
}

/** Lets the app's own files be kept for a day without a network, and calls back when newer ones are there. */
export function keepFiles(updated: () => void): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes
  const rules = {
    createScriptURL: (address: string) => {
      if (address !== WORKER) throw new TypeError('no worker of ours')
      return address
    },
  }
  const address = (policies?.createPolicy('countersign', rules) ?? rules).createScriptURL(WORKER)
  navigator.serviceWorker.addEventListener('message', (event) => event.data === 'countersign:updated' && updated())
  // A browser that allows no worker shows the app all the same.
  navigator.serviceWorker.register(address).catch(() => undefined)
}
