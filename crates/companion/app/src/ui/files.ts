/** Hands a file to the person. It never leaves the device by this. */
export function saveBlob(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  // The browser has begun to read it by the next turn, and holds it until it is done.
  setTimeout(() => URL.revokeObjectURL(address), 1_000)
}

export const saveText = (name: string, text: string): void => saveBlob(name, new Blob([text], { type: 'text/plain;charset=utf-8' }))
