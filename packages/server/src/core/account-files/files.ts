import { randomUUID } from 'node:crypto'
import { type Blobs, type StagedBlob, type StoredBlob, sealedSizeOf } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import { cleanFileName } from '../file-names.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { AccountFileText, BlobLink, Row } from '../schema.ts'
import type { NameSearch } from './name-search.ts'

/** Rows that background work takes in one transaction, so that requests come in between. */
const INDEXED_AT_ONCE = 64
const PURGED_AT_ONCE = 64

/** Where the bytes of account files live; the only store there is. */
const DISK = 'local'

/** A file in a person's or application's account. */
export interface AccountFile {
  readonly n: number
  readonly id: string
  readonly ownerId: string
  readonly fullName: string
  /** Media type. */
  readonly type: string
  /** Bytes of content. */
  readonly size: number
  /** Bytes that are stored. */
  readonly encryptedSize: number
  /** The name of the store. */
  readonly disk: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** Its bytes are gone; the record goes a month later. */
  readonly trashed: boolean
  readonly blobId: string | null
}

/** The one category of an account, to which every file belongs. */
export interface Category {
  readonly id: string
  readonly name: string
  readonly createdAt: number
}

export interface AccountUsage {
  /** Records, those in the trash too. */
  readonly files: number
  readonly trashed: number
  /** Bytes of content that is stored. */
  readonly bytes: number
}

export interface AccountFiles {
  /**
   * Puts staged bytes into an account, or drops them when that fails.
   *
   * @param quota bytes that the account may hold, or undefined for any number
   * @throws CoreError quota_exceeded
   */
  create(
    ownerId: string,
    staged: StagedBlob,
    file: { name: string; type: string },
    quota?: number,
  ): Promise<AccountFile>
  /** Also one in the trash. @throws CoreError file_not_found, also for other people's */
  get(ownerId: string, id: string): Promise<AccountFile>
  /** The bytes of a file. @throws CoreError file_not_found, also for one in the trash */
  content(ownerId: string, id: string): Promise<{ file: AccountFile; blob: StoredBlob }>
  /** Removes the bytes at once and leaves the record. @throws CoreError file_not_found */
  trash(ownerId: string, id: string): Promise<void>
  category(ownerId: string): Promise<Category | undefined>
  usage(ownerId: string): Promise<AccountUsage>
  /** Opens a row. */
  open(row: Row<'account_file'>): AccountFile
  /** Forgets records that went to the trash a calendar month ago; answers how many. */
  purge(): Promise<number>
  /** Makes names that came last searchable by index; answers whether more are waiting. */
  indexNames(): Promise<boolean>
  /** Keeps the index of names in one piece, so that searches stay fast. */
  tidyIndex(): Promise<void>
}

export function createAccountFiles(parts: {
  database: Database
  keyring: Keyring
  clock: Clock
  blobs: Blobs
  search: NameSearch
}): AccountFiles {
  const { database, keyring, clock, blobs, search } = parts
  const column = accountFileColumn(keyring)
  const categoryColumn = sealedJson<{ name: string }>(keyring, 'category')

  function open(row: Row<'account_file'>): AccountFile {
    return view(row, column.open(row.id, row.owner_id, row.sealed))
  }

  function view(row: Row<'account_file'>, { fullName, type }: AccountFileText): AccountFile {
    return {
      n: row.n,
      id: row.id,
      ownerId: row.owner_id,
      fullName,
      type,
      size: row.size,
      encryptedSize: row.encrypted_size,
      disk: row.disk,
      createdAt: row.created_at,
      trashed: row.trashed_at !== null,
      blobId: row.blob_id,
    }
  }

  async function find(reader: Reader, ownerId: string, id: string): Promise<Row<'account_file'>> {
    const row = await reader
      .selectFrom('account_file')
      .selectAll()
      .where('id', '=', id)
      .where('owner_id', '=', ownerId)
      .executeTakeFirst()
    if (!row) throw new CoreError('file_not_found', 'no such file')
    return row
  }

  async function usage(reader: Reader, ownerId: string): Promise<AccountUsage> {
    const row = await reader
      .selectFrom('account_usage')
      .select(['files', 'trashed', 'bytes'])
      .where('owner_id', '=', ownerId)
      .executeTakeFirst()
    return row ?? { files: 0, trashed: 0, bytes: 0 }
  }

  async function categoryRow(
    reader: Reader,
    ownerId: string,
  ): Promise<Row<'category'> | undefined> {
    return reader
      .selectFrom('category')
      .selectAll()
      .where('owner_id', '=', ownerId)
      .executeTakeFirst()
  }

  /** The account's category, made with its first file. */
  async function categoryIdOf(writer: Writer, ownerId: string): Promise<string> {
    const known = await categoryRow(writer, ownerId)
    if (known) return known.id
    const id = randomUUID()
    await writer
      .insertInto('category')
      .values({
        id,
        owner_id: ownerId,
        sealed: categoryColumn.seal(id, ownerId, { name: 'Uploads' }),
        created_at: clock(),
      })
      .execute()
    return id
  }

  return {
    create: (ownerId, staged, { name, type }, quota = Number.POSITIVE_INFINITY) =>
      blobs.keep(staged, async (writer) => {
        const id = randomUUID()
        const text = { fullName: cleanFileName(name), givenName: name, type, blobId: staged.id }
        const row = await writer
          .insertInto('account_file')
          .values({
            id,
            owner_id: ownerId,
            category_id: await categoryIdOf(writer, ownerId),
            blob_id: staged.id,
            disk: DISK,
            size: staged.size,
            encrypted_size: sealedSizeOf(staged),
            sealed: column.seal(id, ownerId, text),
            created_at: clock(),
            trashed_at: null,
          })
          .returningAll()
          .executeTakeFirstOrThrow()
        await writer.insertInto('search_todo').values({ n: row.n, owner_id: ownerId }).execute()
        await addUsage(writer, ownerId, { files: 1, trashed: 0, bytes: staged.size })
        if ((await usage(writer, ownerId)).bytes > quota) {
          throw new CoreError('quota_exceeded', 'the storage quota is used up')
        }
        return open(row)
      }),

    get: async (ownerId, id) => open(await find(database.read, ownerId, id)),

    async content(ownerId, id) {
      const row = await find(database.read, ownerId, id)
      if (row.blob_id === null) throw new CoreError('file_not_found', 'the file is in the trash')
      const text = column.open(row.id, row.owner_id, row.sealed)
      requireLink(row.blob_id, text.blobId)
      return { file: view(row, text), blob: { id: row.blob_id, size: row.size } }
    },

    trash: (ownerId, id) =>
      blobs.unlinking(async (writer, release) => {
        const row = await find(writer, ownerId, id)
        if (row.blob_id === null) throw new CoreError('file_not_found', 'in the trash already')
        await writer
          .updateTable('account_file')
          .set({ blob_id: null, trashed_at: clock() })
          .where('n', '=', row.n)
          .execute()
        await addUsage(writer, ownerId, { files: 0, trashed: 1, bytes: -row.size })
        await release(row.blob_id)
      }),

    async category(ownerId) {
      const row = await categoryRow(database.read, ownerId)
      if (!row) return undefined
      const { name } = categoryColumn.open(row.id, ownerId, row.sealed)
      return { id: row.id, name, createdAt: row.created_at }
    },

    usage: (ownerId) => usage(database.read, ownerId),
    open,

    async purge() {
      const before = aMonthBefore(clock())
      let purged = 0
      for (;;) {
        const removed = await database.write(async (writer) => {
          const rows = await writer
            .selectFrom('account_file')
            .select(['n', 'owner_id'])
            .where('trashed_at', '<=', before)
            .limit(PURGED_AT_ONCE)
            .execute()
          for (const { n, owner_id } of rows) {
            await writer.deleteFrom('account_file').where('n', '=', n).execute()
            await writer.deleteFrom('search_todo').where('n', '=', n).execute()
            await database.nameIndex.remove(writer, n)
            await addUsage(writer, owner_id, { files: -1, trashed: -1, bytes: 0 })
          }
          return rows.length
        })
        purged += removed
        await failpoint('records.purged')
        if (removed < PURGED_AT_ONCE) return purged
      }
    },

    async indexNames() {
      const waiting = await database.read
        .selectFrom('search_todo')
        .select('n')
        .limit(1)
        .executeTakeFirst()
      if (!waiting) return false
      return database.write(async (writer) => {
        const rows = await writer
          .selectFrom('search_todo')
          .innerJoin('account_file', 'account_file.n', 'search_todo.n')
          .selectAll('account_file')
          .orderBy('search_todo.n')
          .limit(INDEXED_AT_ONCE)
          .execute()
        for (const row of rows) {
          const { fullName } = column.open(row.id, row.owner_id, row.sealed)
          await search.put(writer, row.owner_id, row.n, fullName)
          await writer.deleteFrom('search_todo').where('n', '=', row.n).execute()
        }
        return rows.length === INDEXED_AT_ONCE
      })
    },

    async tidyIndex() {
      for (let isFirst = true; ; isFirst = false) {
        if (!(await database.write((writer) => database.nameIndex.tidy(writer, isFirst)))) return
      }
    },
  }
}

export function accountFileColumn(keyring: Keyring): SealedColumn<AccountFileText & BlobLink> {
  return sealedJson(keyring, 'account_file')
}

/** Totals are kept, since counting a million rows takes longer than a page of them. */
async function addUsage(writer: Writer, ownerId: string, change: AccountUsage): Promise<void> {
  await writer
    .insertInto('account_usage')
    .values({ owner_id: ownerId, ...change })
    .onConflict((conflict) =>
      conflict.column('owner_id').doUpdateSet((eb) => ({
        files: eb('account_usage.files', '+', change.files),
        trashed: eb('account_usage.trashed', '+', change.trashed),
        bytes: eb('account_usage.bytes', '+', change.bytes),
      })),
    )
    .execute()
}

/** The same day and time of the month before, or that month's last day where it has no such day. */
function aMonthBefore(instant: number): number {
  const date = new Date(instant)
  const day = date.getUTCDate()
  date.setUTCDate(1)
  date.setUTCMonth(date.getUTCMonth() - 1)
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, lastDay))
  return date.getTime()
}
