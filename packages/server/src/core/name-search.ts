import { createCipheriv, createHmac, type KeyObject } from 'node:crypto'
import { sql } from 'kysely'
import type { Reader, Writer } from './database.ts'
import { searchForm } from './file-names.ts'
import type { Keyring } from './keyring.ts'

/** Shorter keywords have no trigram: the owner's names are opened instead. */
export const SHORTEST_INDEXED = 3
const TOKEN_BYTES = 5
const BLOCK_BYTES = 16
/** More trigrams make a search no sharper: what is found is opened and checked. */
const TOKENS_PER_QUERY = 12

/**
 * Substring search over sealed names: keyed tokens of their trigrams in a full-text index without
 * content. Tokens of different owners never match each other, and the time of a search depends on
 * the owner's files only. What is found may be wrong (order of trigrams) but nothing is missed.
 */
export interface NameSearch {
  /** Indexes one row. */
  put(writer: Writer, scope: string, n: number, name: string): Promise<void>
  remove(writer: Writer, n: number): Promise<void>
  /** Rows that may match, newest first, at most `limit` of those below `before`. */
  find(
    reader: Reader,
    scope: string,
    keyword: string,
    before: number,
    limit: number,
  ): Promise<number[]>
}

export function createNameSearch(keyring: Keyring): NameSearch {
  return {
    async put(writer, scope, n, name) {
      const tokens = tokensOf(scopeKey(keyring, scope), name).join(' ')
      await sql`insert into name_search (rowid, tokens) values (${n}, ${tokens})`.execute(writer)
    },

    async remove(writer, n) {
      await sql`delete from name_search where rowid = ${n}`.execute(writer)
    },

    async find(reader, scope, keyword, before, limit) {
      const tokens = tokensOf(scopeKey(keyring, scope), keyword).slice(0, TOKENS_PER_QUERY)
      const { rows } = await sql<{ n: number }>`
        select rowid as n from name_search
        where name_search match ${tokens.join(' AND ')} and rowid < ${before}
        order by rowid desc limit ${limit}
      `.execute(reader)
      return rows.map((row) => row.n)
    },
  }
}

function scopeKey(keyring: Keyring, scope: string): Buffer {
  const key: KeyObject = keyring.indexKey('name_search')
  return createHmac('sha256', key).update(scope).digest()
}

/** One block of AES-ECB per trigram under the scope's key is a pseudo-random function of it, and one call makes all. */
function tokensOf(key: Buffer, text: string): string[] {
  const points = [...searchForm(text)]
  const trigrams = new Set<string>()
  for (let at = 0; at + 3 <= points.length; at += 1) {
    trigrams.add(points.slice(at, at + 3).join(''))
  }
  const blocks = Buffer.alloc(trigrams.size * BLOCK_BYTES)
  let block = 0
  for (const trigram of trigrams) {
    blocks.write(trigram, block * BLOCK_BYTES, 'utf8')
    block += 1
  }
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  const sealed = cipher.update(blocks)
  return Array.from({ length: trigrams.size }, (_, index) => {
    const start = index * BLOCK_BYTES
    return `t${sealed.toString('hex', start, start + TOKEN_BYTES)}`
  })
}
