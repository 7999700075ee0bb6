// IndexedDB, as the book and the rest use it: whole rows by key, a change durable before it counts, tabs kept apart by Web Locks.
import { Failed, fail } from './errors.ts'

const NAME = 'countersign'
const VERSION = 1
const STORES = ['meta', 'links', 'grants', 'previews', 'seen'] as const
export type StoreName = (typeof STORES)[number]

interface Row {
  store: StoreName
  key: string
  value: unknown
}

export class Store {
  private constructor(private readonly db: IDBDatabase) {}

  static async open(): Promise<Store> {
    if (typeof indexedDB === 'undefined') fail({ kind: 'unsupported', missing: 'indexeddb' })
    const request = indexedDB.open(NAME, VERSION)
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name)
    }
    const db = await new Promise<IDBDatabase>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result)
      request.onblocked = () => reject(new Failed({ kind: 'storage', problem: 'blocked' }))
      request.onerror = () => reject(storageError(request.error))
    })
    // Another tab has a newer app, or wipes: this one must not keep it from that.
    db.onversionchange = () => db.close()
    return new Store(db)
  }

  async get<T>(store: StoreName, key: string): Promise<T | undefined> {
    return this.run('readonly', [store], (at) => at(store).get(key) as IDBRequest<T | undefined>)
  }

  async all<T>(store: StoreName): Promise<T[]> {
    return this.run('readonly', [store], (at) => at(store).getAll() as IDBRequest<T[]>)
  }

  /** All of them or none, on disk before it resolves. */
  put(...rows: readonly Row[]): Promise<void> {
    return this.write(rows, 'strict')
  }

  /** What a broker told and would tell again: nothing waits for the disk. */
  note(...rows: readonly Row[]): Promise<void> {
    return this.write(rows, 'relaxed')
  }

  private async write(rows: readonly Row[], durability: IDBTransactionDurability): Promise<void> {
    if (rows.length === 0) return
    const stores = [...new Set(rows.map((row) => row.store))]
    const work = (at: (store: StoreName) => IDBObjectStore) => {
      for (const { store, key, value } of rows) value === undefined ? at(store).delete(key) : at(store).put(value, key)
      return undefined
    }
    await this.run('readwrite', stores, work, durability)
  }

  /** Reads a row and writes what is made of it, with nobody between. */
  async update<T>(store: StoreName, key: string, change: (before: T | undefined) => T | undefined): Promise<T | undefined> {
    let after: T | undefined
    await this.run('readwrite', [store], (at) => {
      const before = at(store).get(key) as IDBRequest<T | undefined>
      before.onsuccess = () => {
        after = change(before.result)
        if (after !== undefined) at(store).put(after, key)
      }
      return undefined
    })
    return after
  }

  /**
   * New keys, and so a new customer: what an earlier one signed here stays, as the proof that it is, but is no part of the new book.
   * What is known of the broker and its log stays as well.
   */
  async begin<K extends { customer: string }>(keys: K): Promise<void> {
    const before = await this.get<{ customer: string }>('meta', 'keys')
    const kept: Record<string, unknown> = {}
    for (const key of ['trust', 'head', 'fork', 'partners', 'lastSeen']) kept[key] = await this.get('meta', key)
    const past = (await this.get<unknown[]>('meta', 'past')) ?? []
    if (before) past.push({ customer: before.customer, over: await this.get('meta', 'over'), links: await this.all('links'), grants: await this.all('grants') })
    const rows = Object.entries({ ...kept, past, keys }).filter(([, value]) => value !== undefined)
    await this.run('readwrite', STORES, (at) => {
      for (const store of STORES) at(store).clear()
      for (const [key, value] of rows) at('meta').put(value, key)
      return undefined
    })
  }

  async clear(): Promise<void> {
    await this.run('readwrite', STORES, (at) => {
      for (const store of STORES) at(store).clear()
      return undefined
    })
  }

  private async run<T>(mode: IDBTransactionMode, stores: readonly StoreName[], work: (at: (store: StoreName) => IDBObjectStore) => IDBRequest<T> | undefined, durability: IDBTransactionDurability = 'strict'): Promise<T> {
    try {
      const transaction = this.db.transaction([...stores], mode, { durability })
      const request = work((store) => transaction.objectStore(store))
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve()
        transaction.onabort = transaction.onerror = () => reject(storageError(transaction.error))
      })
      return request?.result as T
    } catch (thrown) {
      if (thrown instanceof Failed) throw thrown
      throw storageError(thrown)
    }
  }
}

function storageError(cause: unknown): Failed {
  const name = cause instanceof DOMException ? cause.name : ''
  const problem = name === 'QuotaExceededError' ? 'full' : name === 'VersionError' ? 'version' : name === 'InvalidStateError' ? 'cleared' : 'damaged'
  return new Failed({ kind: 'storage', problem })
}

/** One at a time, over all tabs: so that two never sign the same number. */
export async function alone<T>(work: () => Promise<T>): Promise<T> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks
  if (locks) return locks.request('countersign-signing', work) as Promise<T>
  const before = queue
  const mine = before.then(work, work)
  queue = mine.catch(() => undefined)
  return mine
}
let queue: Promise<unknown> = Promise.resolve()
