import { randomUUID } from 'node:crypto'
import type { StoredBlob } from '../blobs/blobs.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import { generateKey, hashToken } from '../secrets.ts'
import type { AccountFile, AccountFiles } from './files.ts'
import type { Pins } from './pins.ts'

/** A download has to begin within this. */
const START_WITHIN_MS = 60 * 1000
/** A transfer that broke may be continued within this. */
const CONTINUE_WITHIN_MS = 10 * 60 * 1000
/** A transfer says so often that it still runs; twice that after a crash it no longer counts. */
const HEARTBEAT_MS = 20 * 1000

/** Files to be downloaded once, by whoever has the key. */
export interface DownloadContent {
  readonly files: readonly { file: AccountFile; blob: StoredBlob }[]
}

/** Some of the files of a new download are not there. */
export class UnknownFilesError extends CoreError {
  readonly positions: readonly number[]

  constructor(positions: readonly number[]) {
    super('file_not_found', 'no such files')
    this.positions = positions
  }
}

/** A running transfer of a download. */
export interface Transfer extends DownloadContent {
  /** Ends it: used up when the last byte was sent, otherwise open for a while to be continued. */
  end(usedUp: boolean): Promise<void>
}

export interface Downloads {
  /** @throws UnknownFilesError */
  create(identityId: string, fileIds: readonly string[]): Promise<{ id: string; createdAt: number }>
  /**
   * Answers the key of a download, for an unlocked account.
   *
   * @throws CoreError download_not_found, pin_key_unknown
   */
  issueKey(identityId: string, downloadId: string, pinKey: string): Promise<string>
  /** What a key gives, without using it. @throws CoreError download_not_found, file_not_found */
  look(downloadId: string, key: string): Promise<DownloadContent>
  /** Begins or continues the one transfer. @throws CoreError download_not_found, download_busy, file_not_found */
  start(downloadId: string, key: string): Promise<Transfer>
  /** Forgets downloads that can no longer begin; answers how many. */
  forgetExpired(): Promise<number>
}

export function createDownloads(
  database: Database,
  clock: Clock,
  files: AccountFiles,
  pins: Pins,
): Downloads {
  async function contentOf(downloadId: string, identityId: string): Promise<DownloadContent> {
    const rows = await database.read
      .selectFrom('download_file')
      .select('file_id')
      .where('download_id', '=', downloadId)
      .orderBy('position')
      .execute()
    return { files: await Promise.all(rows.map((row) => files.content(identityId, row.file_id))) }
  }

  async function isThere(identityId: string, fileId: string): Promise<boolean> {
    try {
      await files.content(identityId, fileId)
      return true
    } catch (error) {
      if (error instanceof CoreError && error.code === 'file_not_found') return false
      throw error
    }
  }

  async function find(downloadId: string, key: string): Promise<{ identity_id: string }> {
    const row = await database.read
      .selectFrom('download')
      .select('identity_id')
      .where('id', '=', downloadId)
      .where('key_hash', '=', hashToken(key))
      .where('expires_at', '>', clock())
      .executeTakeFirst()
    if (!row) throw new CoreError('download_not_found', 'no such download')
    return row
  }

  /** While a transfer runs it is busy, and may be continued from when it was last heard of. */
  async function beat(downloadId: string): Promise<void> {
    await database.write((writer) =>
      writer
        .updateTable('download')
        .set({
          busy_until: clock() + 2 * HEARTBEAT_MS,
          expires_at: clock() + CONTINUE_WITHIN_MS,
        })
        .where('id', '=', downloadId)
        .execute(),
    )
  }

  async function seize(downloadId: string): Promise<void> {
    const now = clock()
    const { numUpdatedRows } = await database.write((writer) =>
      writer
        .updateTable('download')
        .set({ busy_until: now + 2 * HEARTBEAT_MS, expires_at: now + CONTINUE_WITHIN_MS })
        .where('id', '=', downloadId)
        .where('expires_at', '>', now)
        .where('busy_until', '<=', now)
        .executeTakeFirst(),
    )
    if (numUpdatedRows === 0n) throw new CoreError('download_busy', 'it is being downloaded')
  }

  async function end(downloadId: string, usedUp: boolean): Promise<void> {
    await database.write(async (writer) => {
      if (usedUp) {
        await writer.deleteFrom('download').where('id', '=', downloadId).execute()
        return
      }
      await writer
        .updateTable('download')
        .set({ busy_until: 0, expires_at: clock() + CONTINUE_WITHIN_MS })
        .where('id', '=', downloadId)
        .execute()
    })
  }

  return {
    async create(identityId, fileIds) {
      const id = randomUUID()
      const createdAt = clock()
      const unknown: number[] = []
      for (const [position, fileId] of fileIds.entries()) {
        if (!(await isThere(identityId, fileId))) unknown.push(position)
      }
      if (unknown.length > 0) throw new UnknownFilesError(unknown)
      await database.write(async (writer) => {
        await writer
          .insertInto('download')
          .values({
            id,
            identity_id: identityId,
            key_hash: null,
            created_at: createdAt,
            expires_at: createdAt + START_WITHIN_MS,
            busy_until: 0,
          })
          .execute()
        for (const [position, file_id] of fileIds.entries()) {
          await writer
            .insertInto('download_file')
            .values({ download_id: id, position, file_id })
            .execute()
        }
      })
      return { id, createdAt }
    },

    async issueKey(identityId, downloadId, pinKey) {
      if (!(await pins.isUnlocked(identityId, pinKey))) {
        throw new CoreError('pin_key_unknown', 'no such key')
      }
      const key = generateKey()
      const { numUpdatedRows } = await database.write((writer) =>
        writer
          .updateTable('download')
          .set({ key_hash: hashToken(key) })
          .where('id', '=', downloadId)
          .where('identity_id', '=', identityId)
          .where('expires_at', '>', clock())
          .executeTakeFirst(),
      )
      if (numUpdatedRows === 0n) throw new CoreError('download_not_found', 'no such download')
      return key
    },

    async look(downloadId, key) {
      const { identity_id } = await find(downloadId, key)
      return contentOf(downloadId, identity_id)
    },

    async start(downloadId, key) {
      const { identity_id } = await find(downloadId, key)
      const content = await contentOf(downloadId, identity_id)
      await seize(downloadId)
      const heart = setInterval(() => void beat(downloadId).catch(() => undefined), HEARTBEAT_MS)
      heart.unref()
      return {
        ...content,
        async end(usedUp) {
          clearInterval(heart)
          await end(downloadId, usedUp)
        },
      }
    },

    async forgetExpired() {
      const { numDeletedRows } = await database.write((writer) =>
        writer.deleteFrom('download').where('expires_at', '<=', clock()).executeTakeFirst(),
      )
      return Number(numDeletedRows)
    },
  }
}
