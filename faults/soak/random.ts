import { createCipheriv, createHash } from 'node:crypto'

/** Numbers that a seed decides: the same seed gives the same ones. */
export interface Random {
  /** A whole number from `least` up to but not including `below`. */
  between(least: number, below: number): number
  /** True once in so many times. */
  onceIn(times: number): boolean
  pick<T>(all: readonly [T, ...T[]]): T
  /** One of them, or undefined when there is none. */
  any<T>(all: readonly T[]): T | undefined
  shuffled<T>(all: readonly T[]): T[]
}

export function createRandom(seed: string): Random {
  const bits = keyStream(`numbers ${seed}`)

  function between(least: number, below: number): number {
    const drawn = bits.update(Buffer.alloc(4)).readUInt32BE() / 2 ** 32
    return least + Math.floor(drawn * (below - least))
  }

  return {
    between,
    onceIn: (times) => between(0, times) === 0,
    pick: (all) => all[between(0, all.length)] as (typeof all)[0],
    any: (all) => all[between(0, all.length)],
    shuffled(all) {
      const left = [...all]
      return all.map(() => left.splice(between(0, left.length), 1)[0] as (typeof left)[0])
    },
  }
}

/** What a file holds, by what it is made from: it can be made again to compare. */
export interface Content {
  readonly seed: string
  /** Bytes. */
  readonly size: number
}

export function bytesOf({ seed, size }: Content): Buffer<ArrayBuffer> {
  return Buffer.from(keyStream(`content ${seed}`).update(Buffer.alloc(size)))
}

function keyStream(seed: string) {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
}

const KIB = 1024
/** Where the seal and the store change what they do. */
const BORDERS = [1, 63 * KIB, 64 * KIB, 128 * KIB, 512 * KIB, 1024 * KIB]

/** Sizes as they hurt: none, around every border, and anything up to `most` bytes. */
export function randomSize(random: Random, least: number, most: number): number {
  const border = random.any(BORDERS) as number
  const size = random.onceIn(3) ? border + random.between(-1, 2) : random.between(0, most + 1)
  return Math.max(least, Math.min(most, random.onceIn(2) ? size : Math.floor(size / 16)))
}
