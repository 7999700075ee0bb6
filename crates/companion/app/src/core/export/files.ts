// The files of an export, and the one that a phone saves: a zip of them.
import { zipSync, type Zippable } from 'fflate'

import type { Bytes } from '../bytes.ts'

export class Files {
  private readonly all: Record<string, Bytes> = {}

  add(name: string, bytes: Bytes): void {
    this.all[name] = bytes
  }

  /**
   * The files in a folder of this name. Made in the page's own thread: a worker of a blob is not within the policy under which the
   * app runs.
   */
  zip(folder: string, time: number): Blob {
    const files: Zippable = {}
    for (const [name, bytes] of Object.entries(this.all)) files[`${folder}/${name}`] = bytes
    return new Blob([new Uint8Array(zipSync(files, { mtime: time }))], { type: 'application/zip' })
  }
}
