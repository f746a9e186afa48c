import { createInflateRaw } from 'node:zlib'
import { RenderRefusal } from './refusal.ts'

/** What an archive may become when it is unpacked; its own words about that are not believed. */
const MOST_UNPACKED = 256 * 1024 * 1024
const MOST_ENTRIES = 10_000
const END_OF_DIRECTORY = 0x06054b50
const ENTRY = 0x02014b50
const LOCAL_HEADER = 0x04034b50
const END_BYTES = 22
const LONGEST_COMMENT = 0xffff
const STORED = 0
const DEFLATED = 8

interface Entry {
  readonly name: string
  readonly method: number
  readonly isEncrypted: boolean
  readonly compressedSize: number
  readonly at: number
}

/**
 * Unpacks an archive without keeping anything, to see that it does not explode.
 *
 * @returns the names of its entries
 * @throws RenderRefusal
 */
export async function checkedEntries(bytes: Buffer): Promise<string[]> {
  const entries = readDirectory(bytes)
  let left = MOST_UNPACKED
  for (const entry of entries) {
    left -= await unpackedSize(bytes, entry, left)
    if (left < 0) throw new RenderRefusal('too_large_inside')
  }
  return entries.map(({ name }) => name)
}

function readDirectory(bytes: Buffer): Entry[] {
  try {
    const end = findEnd(bytes)
    const count = bytes.readUInt16LE(end + 10)
    if (count > MOST_ENTRIES) throw new RenderRefusal('too_large_inside')
    const entries: Entry[] = []
    for (let at = bytes.readUInt32LE(end + 16); entries.length < count; ) {
      if (bytes.readUInt32LE(at) !== ENTRY) throw new RenderRefusal('damaged')
      const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) =>
        bytes.readUInt16LE(at + offset),
      ) as [number, number, number]
      entries.push({
        name: bytes.toString('utf8', at + 46, at + 46 + nameLength),
        method: bytes.readUInt16LE(at + 10),
        isEncrypted: (bytes.readUInt16LE(at + 8) & 1) === 1,
        compressedSize: bytes.readUInt32LE(at + 20),
        at: bytes.readUInt32LE(at + 42),
      })
      at += 46 + nameLength + extraLength + commentLength
    }
    return entries
  } catch (error) {
    // An offset beyond the end is damage as well.
    throw error instanceof RenderRefusal ? error : new RenderRefusal('damaged', { cause: error })
  }
}

function findEnd(bytes: Buffer): number {
  const least = Math.max(0, bytes.length - END_BYTES - LONGEST_COMMENT)
  for (let at = bytes.length - END_BYTES; at >= least; at -= 1) {
    if (bytes.readUInt32LE(at) === END_OF_DIRECTORY) return at
  }
  throw new RenderRefusal('damaged')
}

async function unpackedSize(bytes: Buffer, entry: Entry, most: number): Promise<number> {
  const { at, compressedSize, method, isEncrypted } = entry
  if (isEncrypted || at + 30 > bytes.length || bytes.readUInt32LE(at) !== LOCAL_HEADER) {
    throw new RenderRefusal('damaged')
  }
  const start = at + 30 + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28)
  const packed = bytes.subarray(start, start + compressedSize)
  if (packed.length !== compressedSize) throw new RenderRefusal('damaged')
  if (method === STORED) return compressedSize
  if (method !== DEFLATED) throw new RenderRefusal('unknown_format')
  return inflatedSize(packed, most)
}

async function inflatedSize(packed: Buffer, most: number): Promise<number> {
  const inflater = createInflateRaw()
  inflater.end(packed)
  let size = 0
  try {
    for await (const piece of inflater) {
      size += (piece as Buffer).length
      if (size > most) throw new RenderRefusal('too_large_inside')
    }
  } catch (error) {
    throw error instanceof RenderRefusal ? error : new RenderRefusal('damaged', { cause: error })
  }
  return size
}
