// What was taken along: read from the zip, and held against what the command line takes along for the same person.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unzipSync } from 'fflate'

import type { Hall } from './hall.ts'

const run = promisify(execFile)
const PROGRAM = process.env['COUNTERSIGN_CLI'] ?? fileURLToPath(new URL('../../../../target/debug/countersign', import.meta.url))

/** The files of an export, by name within its folder. */
export type Taken = Map<string, string>

export async function unzipped(whole: Blob): Promise<Taken> {
  const files = Object.entries(unzipSync(new Uint8Array(await whole.arrayBuffer())))
  return new Map(files.map(([name, bytes]) => [name.replace(/^countersign-export\//, ''), new TextDecoder('utf-8', { fatal: true }).decode(bytes)]))
}

/** The same person on the command line: a device that knows no more than what the authenticator opens. */
export class CommandLine {
  private constructor(private readonly folder: string) {}

  static async of(hall: Hall, secret: Uint8Array): Promise<CommandLine> {
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is not there: cargo build -p countersign-cli`)
    const cli = new CommandLine(await mkdtemp(join(tmpdir(), 'countersign-taken-')))
    const broker = (await (await fetch(`${hall.broker}/broker.json`)).json()) as object
    await writeFile(cli.at('broker.json'), JSON.stringify({ address: hall.broker, ...broker }))
    const text = Buffer.from(secret).toString('base64url')
    await writeFile(cli.at('authenticator'), `countersign-authenticator v1\nsecret: ${text}\n`, { mode: 0o600 })
    await cli.call('customer', 'recover', '--authenticator', cli.at('authenticator'), '--home', cli.at('home'))
    return cli
  }

  private at(name: string): string {
    return join(this.folder, name)
  }
  private call(...args: string[]) {
    return run(PROGRAM, ['--broker', this.at('broker.json'), ...args])
  }

  async takes(): Promise<Taken> {
    const folder = await mkdtemp(this.at('mine-'))
    await this.call('customer', 'export', folder, '--home', this.at('home'))
    const names = await readdir(folder, { recursive: true, withFileTypes: true })
    const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    return new Map(await Promise.all(files.map(async (path): Promise<[string, string]> => [relative(folder, path), await readFile(path, 'utf8')])))
  }

  /** Fails for a proof that does not hold. */
  async verifies(proof: string): Promise<void> {
    await writeFile(this.at('proof'), proof)
    await this.call('log', 'proof-verify', this.at('proof'))
  }

  async end(): Promise<void> {
    await rm(this.folder, { recursive: true })
  }
}

/**
 * The text with what is of this very export, or of this device, taken out: when it was made, the head under which a record was proven,
 * what an account is called, and what was signed for the recipient, which stays on the device that signed it.
 */
export function comparable(name: string, text: string): string {
  if (!/\.json(?:ld)?$/.test(name)) return text
  const rid = (json: unknown, ...members: string[]) => {
    for (const member of members) if (typeof json === 'object' && json !== null) delete (json as Record<string, unknown>)[member]
  }
  const json = JSON.parse(text) as Record<string, unknown> & Record<string, unknown>[]
  if (name === 'manifest.json') rid(json, 'time')
  else if (name === 'devices.json') rid(json, 'labels')
  else if (name === 'links.json') json.forEach((one) => rid(one, 'label'))
  else if (name === 'grants.json') json.forEach((one) => rid(one, 'recipient_terms', 'recipient_changes'))
  else if (name === 'events.json') json.forEach((one) => rid(one['receipt'], 'path', 'checkpoint'))
  else if (name.startsWith('consents/')) rid(json, 'dct:created')
  return JSON.stringify(json)
}
