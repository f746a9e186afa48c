import type { PreviewKind } from '../core/previews/formats.ts'

/**
 * What server and renderer say to each other. The server writes on standard input: a frame with a
 * `RenderRequest`, then as many bytes of content as it says. The renderer answers on descriptor 3: for
 * each page a frame with a `PageHead` and then its bytes, in the end a frame with a `RenderEnd`.
 *
 * A frame is the length of its JSON as a number of four bytes, big endian, and the JSON.
 */
export interface RenderRequest {
  readonly kind: PreviewKind
  readonly extension: string
  /** Bytes of content. */
  readonly size: number
}

export interface PageHead {
  readonly page: {
    readonly type: string
    /** Pixels, like `height`. */
    readonly width: number
    readonly height: number
    /** Bytes. */
    readonly size: number
  }
}

/** The end of a job: all pages were sent, or there are none and this is why. */
export interface RenderEnd {
  readonly end: 'done' | Refusal
}

/** Why a file cannot be shown. */
export type Refusal =
  | 'unknown_format'
  | 'active_content'
  | 'too_many_pixels'
  | 'too_many_frames'
  | 'too_large_inside'
  | 'damaged'

export const OUTPUT_DESCRIPTOR = 3
export const PREVIEW_TYPE = 'image/webp'
/** Pixels that a preview fits into. */
export const PREVIEW_WIDTH = 600
export const PREVIEW_HEIGHT = 400
export const MOST_PAGES = 10
/** Of one frame's JSON. */
export const MOST_FRAME_BYTES = 4096

export function encodeFrame(value: RenderRequest | PageHead | RenderEnd): Buffer {
  const json = Buffer.from(JSON.stringify(value))
  const frame = Buffer.alloc(4 + json.length)
  frame.writeUInt32BE(json.length)
  json.copy(frame, 4)
  return frame
}

/** Reads a stream in pieces of wanted lengths. */
export interface PieceReader {
  /** Exactly so many bytes; undefined when the stream ends before. */
  read(length: number): Promise<Buffer | undefined>
  /** The next frame's JSON, which is anything; undefined when the stream ends before. @throws Error for one that is too long */
  frame(): Promise<unknown>
}

export function createPieceReader(source: AsyncIterable<Buffer>): PieceReader {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)

  async function read(length: number): Promise<Buffer | undefined> {
    const wanted = Buffer.allocUnsafe(length)
    let filled = 0
    while (filled < length) {
      if (rest.length === 0) {
        const next = await iterator.next()
        if (next.done) return undefined
        rest = next.value
      }
      const taken = rest.copy(wanted, filled)
      rest = rest.subarray(taken)
      filled += taken
    }
    return wanted
  }

  return {
    read,
    async frame() {
      const head = await read(4)
      if (!head) return undefined
      const length = head.readUInt32BE()
      if (length > MOST_FRAME_BYTES) throw new Error('a frame is too long')
      const json = await read(length)
      return json && JSON.parse(json.toString())
    },
  }
}
