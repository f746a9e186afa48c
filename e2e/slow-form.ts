import { Readable } from 'node:stream'

/** A form with one file, of which a client sends half and then waits. */
export interface SlowForm {
  /** What to hand to `fetch`, with its media type. */
  readonly request: RequestInit & { headers: Record<string, string> }
  /** Settles when half of it was taken. */
  readonly half: Promise<void>
  /** Sends the rest. */
  goOn(): void
}

export function slowForm(content: Uint8Array, headers: Record<string, string>): SlowForm {
  const half = Promise.withResolvers<void>()
  const rest = Promise.withResolvers<void>()
  const middle = Math.floor(content.length / 2)
  async function* body() {
    const head = 'content-disposition: form-data; name="file"; filename="film.mkv"'
    yield Buffer.from(`--edge\r\n${head}\r\n\r\n`)
    yield content.subarray(0, middle)
    half.resolve()
    await rest.promise
    yield content.subarray(middle)
    yield Buffer.from('\r\n--edge--\r\n')
  }
  const request = {
    method: 'POST',
    headers: { ...headers, 'content-type': 'multipart/form-data; boundary=edge' },
    body: Readable.from(body()) as unknown as NonNullable<RequestInit['body']>,
    duplex: 'half',
  }
  return { request, half: half.promise, goOn: rest.resolve }
}
