/** No answer, or one that says nothing: whether the request was done nobody can tell. */
export class CutError extends Error {
  override name = 'CutError'
  /** 503 where that was the answer. */
  readonly status: number | undefined

  constructor(message: string, { status, cause }: { status?: number; cause?: unknown } = {}) {
    super(message, { cause })
    this.status = status
  }
}

/** An answer that was read to its end. */
export interface Answer {
  readonly status: number
  readonly bytes: Buffer
}

export interface Question {
  readonly headers?: Record<string, string>
  readonly body?: FormData | undefined
  /** Sent as JSON. */
  readonly json?: unknown
  /** After so many milliseconds the client gives up. */
  readonly giveUpAfter?: number | undefined
}

/** @throws CutError */
export async function ask(
  url: string,
  method: string,
  { headers = {}, body, json, giveUpAfter }: Question = {},
): Promise<Answer> {
  try {
    const response = await fetch(url, {
      method,
      headers: json === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      body: json === undefined ? (body ?? null) : JSON.stringify(json),
      ...(giveUpAfter !== undefined && { signal: AbortSignal.timeout(giveUpAfter) }),
    })
    const bytes = Buffer.from(await response.arrayBuffer())
    // What a server says that is about to stop, or whose database or bucket is away.
    if (response.status === 503) throw new CutError(`${method} ${url}: 503`, { status: 503 })
    return { status: response.status, bytes }
  } catch (error) {
    const isCut = error instanceof TypeError && /fetch failed|terminated/.test(error.message)
    const gaveUp = error instanceof DOMException && error.name === 'TimeoutError'
    if (isCut || gaveUp) throw new CutError(`${method} ${url}`, { cause: error })
    throw error
  }
}

/** The JSON of an answer that must have one of these statuses. */
export function expected<T>({ status, bytes }: Answer, ...statuses: number[]): T {
  if (!statuses.includes(status)) throw new Error(`answered ${status}: ${bytes.subarray(0, 500)}`)
  return bytes.length > 0 ? JSON.parse(bytes.toString()) : (undefined as T)
}

export function form(
  part: string,
  bytes: Buffer<ArrayBuffer>,
  { filename = 'blob', ...fields }: { filename?: string; [name: string]: string } = {},
): FormData {
  const made = new FormData()
  made.append(part, new Blob([bytes]), filename)
  for (const [name, value] of Object.entries(fields)) made.append(name, value)
  return made
}
