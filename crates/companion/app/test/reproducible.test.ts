// The same sources give the same bytes: in another folder, another time zone and another language.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const APP = fileURLToPath(new URL('..', import.meta.url))

/** What vite makes of the sources in a folder: each file's path and hash. */
function built(folder: string, into: string, env: Record<string, string>): string[] {
  execFileSync(process.execPath, [join(APP, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', into, '--emptyOutDir', '--logLevel', 'error'], {
    cwd: folder, env: { PATH: process.env['PATH'] ?? '', ...env },
  })
  const files = readdirSync(into, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.map((entry) => join(entry.parentPath, entry.name)).sort().map((path) => `${createHash('sha256').update(readFileSync(path)).digest('hex')} ${path.slice(into.length)}`)
}

test('a build names nothing of where and when it was made', () => {
  const room = mkdtempSync(join(tmpdir(), 'countersign-build-'))
  try {
    const copy = join(room, 'somewhere', 'else')
    for (const part of ['src', 'public', 'index.html', 'vite.config.ts', 'package.json', 'tsconfig.json']) cpSync(join(APP, part), join(copy, part), { recursive: true })
    symlinkSync(join(APP, 'node_modules'), join(copy, 'node_modules'))
    const here = built(APP, join(room, 'one'), { TZ: 'UTC', LANG: 'C' })
    const there = built(copy, join(room, 'two'), { TZ: 'Asia/Tokyo', LANG: 'ja_JP.UTF-8' })
    expect(here.length).toBeGreaterThan(20)
    expect(there).toEqual(here)
  } finally {
    rmSync(room, { recursive: true })
  }
}, 120_000)
