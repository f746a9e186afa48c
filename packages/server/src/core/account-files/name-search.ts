import { createCipheriv, createHmac, type KeyObject } from 'node:crypto'
import type { NameIndex, NumberOrder, Reader, Writer } from '../database.ts'
import { searchForm } from '../file-names.ts'
import type { Keyring } from '../keys/keyring.ts'

/** Shorter keywords have no token: the owner's names are opened instead. */
export const SHORTEST_INDEXED = 3
/** Of three characters for keywords of three, of four for longer ones: those are far rarer. */
const GRAMS = [SHORTEST_INDEXED, 4] as const
const TOKEN_BYTES = 5
const BLOCK_BYTES = 16

/**
 * Substring search over sealed names: keyed tokens of their parts in the database's index. Tokens of
 * different owners never match each other, and the time of a search depends on the owner's files
 * only. What is found may be wrong (the order of parts) but nothing is missed.
 */
export interface NameSearch {
  /** Indexes one row. */
  put(writer: Writer, scope: string, n: number, name: string): Promise<void>
  /** Rows that may match, at most `limit` of those behind one in an order. */
  find(
    reader: Reader,
    scope: string,
    keyword: string,
    order: NumberOrder,
    limit: number,
  ): Promise<number[]>
}

export function createNameSearch(keyring: Keyring, index: NameIndex): NameSearch {
  return {
    put: (writer, scope, n, name) =>
      index.put(writer, n, tokensOf(scopeKey(keyring, scope), searchForm(name), GRAMS)),

    find(reader, scope, keyword, order, limit) {
      const form = searchForm(keyword)
      const gram = GRAMS.findLast((length) => [...form].length >= length) ?? SHORTEST_INDEXED
      return index.find(reader, tokensOf(scopeKey(keyring, scope), form, [gram]), order, limit)
    },
  }
}

function scopeKey(keyring: Keyring, scope: string): Buffer {
  const key: KeyObject = keyring.indexKey('name_search')
  return createHmac('sha256', key).update(scope).digest()
}

/**
 * Tokens of all parts of a text that have one of these lengths, in their order. One block of AES-ECB per part under the
 * scope's key is a pseudo-random function of it, and one call makes all.
 */
function tokensOf(key: Buffer, form: string, lengths: readonly number[]): string[] {
  const points = [...form]
  const grams = new Set<string>()
  for (const length of lengths) {
    for (let at = 0; at + length <= points.length; at += 1) {
      grams.add(points.slice(at, at + length).join(''))
    }
  }
  const blocks = Buffer.alloc(grams.size * BLOCK_BYTES)
  let block = 0
  for (const gram of grams) {
    blocks.write(gram, block * BLOCK_BYTES, 'utf8')
    block += 1
  }
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  const sealed = cipher.update(blocks)
  return Array.from({ length: grams.size }, (_, index) => {
    const start = index * BLOCK_BYTES
    return sealed.toString('hex', start, start + TOKEN_BYTES)
  })
}
