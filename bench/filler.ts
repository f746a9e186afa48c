import { randomUUID } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import type { Config } from '../packages/server/src/config.ts'
import { accountFileColumn } from '../packages/server/src/core/account-files/files.ts'
import { createNameSearch } from '../packages/server/src/core/account-files/name-search.ts'
import type { Writer } from '../packages/server/src/core/database.ts'
import { type Keyring, openKeyring } from '../packages/server/src/core/keys/keyring.ts'
import {
  SEALED_COLUMN_OVERHEAD,
  sealedBytes,
  sealedJson,
} from '../packages/server/src/core/keys/sealed-column.ts'
import { openForServer } from '../packages/server/src/open.ts'
import { openDiskStore } from '../packages/server/src/store/blobs/disk.ts'
import { kyselyOver } from '../packages/server/src/store/database/node-sqlite.ts'
import { sqliteNameIndex } from '../packages/server/src/store/database/sqlite-name-index.ts'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { readRootKey } from '../packages/server/src/store/root-key.ts'

const ROWS_PER_TRANSACTION = 20_000

/** Somebody whose account is filled. */
export interface Account {
  readonly ownerId: string
  readonly token: string
}

/** A file to be put into an account. */
export interface FilledFile {
  readonly name: string
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly isTrashed?: boolean
  /** Of `size` bytes; without it the blob has no bytes, which lists never look at. */
  readonly content?: Uint8Array
}

/** Writes rows straight into the database, sealed and indexed as an upload does it. */
export interface Filler {
  /** Adds the files `from` up to but not including `to`, oldest first. */
  fill(
    ownerId: string,
    from: number,
    to: number,
    describe: (index: number) => FilledFile,
  ): Promise<void>
  /** Tidies the index of names, as the server's job does it every hour, and brings the log into the database. */
  close(): Promise<void>
}

/** Makes a store, if there is none, and people with tokens in it. */
export async function createAccounts(config: Config, names: readonly string[]): Promise<Account[]> {
  const { core, close } = await openForServer(config, Date.now, (error) => {
    throw error
  })
  const accounts: Account[] = []
  for (const name of names) {
    const email = `${name}@example.com`
    const { id } = await core.identities.createPerson({ email, name })
    const { token } = await core.tokens.create(id, 'bench')
    accounts.push({ ownerId: id, token })
  }
  await close()
  return accounts
}

/** Opens a store that no server uses. */
export async function openFiller(config: Config): Promise<Filler> {
  const root = await readRootKey(config.rootKeyFile, config.data)
  if (!root) throw new Error('the root key is gone')
  const keyring = await openKeyring(await openDiskStore(config.data), root)
  const database = new DatabaseSync(folderPaths(config.data).database)
  database.exec('pragma synchronous = off; pragma cache_size = -400000')
  // Without a transaction of its own: those here are larger.
  const writer = (await kyselyOver(database)) as unknown as Writer
  const search = createNameSearch(keyring, sqliteNameIndex)
  const insertFile = fileInserter(database, keyring)
  const insertUsage = database.prepare(`insert into account_usage values (?, ?, ?, ?)
    on conflict (owner_id) do update set files = files + excluded.files,
      trashed = trashed + excluded.trashed, bytes = bytes + excluded.bytes`)

  return {
    async fill(ownerId, from, to, describe) {
      const categoryId = categoryOf(database, keyring, ownerId)
      let bytes = 0
      let trashed = 0
      for (let index = from; index < to; index += 1) {
        if ((index - from) % ROWS_PER_TRANSACTION === 0) database.exec('begin immediate')
        const file = describe(index)
        const n = insertFile(ownerId, categoryId, file)
        await search.put(writer, ownerId, n, file.name)
        if (file.isTrashed) trashed += 1
        else bytes += file.size
        const isLast = index === to - 1
        if (isLast) insertUsage.run(ownerId, to - from, trashed, bytes)
        if (isLast || (index + 1 - from) % ROWS_PER_TRANSACTION === 0) database.exec('commit')
      }
    },

    async close() {
      for (let first = true; await sqliteNameIndex.tidy(writer, first); first = false);
      database.exec('pragma wal_checkpoint(truncate)')
      database.close()
    },
  }
}

/** Inserts as `accountFiles.create` does; answers the number of the row. */
function fileInserter(database: DatabaseSync, keyring: Keyring) {
  const column = accountFileColumn(keyring)
  const contentColumn = sealedBytes(keyring, 'small_content')
  const insertBlob = database.prepare(
    `insert into blob (id, state, size, created_at) values (?, 'stored', ?, ?)`,
  )
  const insertContent = database.prepare('insert into small_content values (?, ?)')
  const insertFile = database.prepare(
    `insert into account_file (id, owner_id, category_id, blob_id, disk, size, encrypted_size,
      sealed, created_at, trashed_at) values (?, ?, ?, ?, 'local', ?, ?, ?, ?, ?)`,
  )
  return (ownerId: string, categoryId: string, file: FilledFile): number => {
    const { name, size, createdAt, isTrashed = false, content } = file
    const id = randomUUID()
    const blobId = randomUUID()
    if (!isTrashed) insertBlob.run(blobId, size, createdAt)
    if (content) insertContent.run(blobId, contentColumn.seal(blobId, '', content))
    const text = { fullName: name, givenName: name, type: 'application/pdf', blobId }
    const { lastInsertRowid } = insertFile.run(
      ...[id, ownerId, categoryId, isTrashed ? null : blobId, size],
      ...[content ? size + SEALED_COLUMN_OVERHEAD : partSize(size), column.seal(id, ownerId, text)],
      ...[createdAt, isTrashed ? Date.now() : null],
    )
    return Number(lastInsertRowid)
  }
}

/** Of an age file, about. */
function partSize(size: number): number {
  return size + 200 + 16 * Math.ceil(size / 65_536)
}

/** The category of an account, made with its first file. */
function categoryOf(database: DatabaseSync, keyring: Keyring, ownerId: string): string {
  const known = database.prepare('select id from category where owner_id = ?').get(ownerId)
  if (known) return String(known.id)
  const id = randomUUID()
  const sealed = sealedJson(keyring, 'category').seal(id, ownerId, { name: 'Uploads' })
  database.prepare('insert into category values (?, ?, ?, ?)').run(id, ownerId, sealed, Date.now())
  return id
}
