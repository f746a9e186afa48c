import type { Release, StagedBlob, StoredBlob } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Clock } from '../clock.ts'
import type { Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import type { BlobLink, CompanyFileText, PreviewText } from '../schema.ts'
import { type PreviewFormat, type PreviewKind, previewFormat } from './formats.ts'

/** A picture of a file, or of one of its pages. */
export interface Preview extends PreviewText {
  readonly blob: StoredBlob
}

/** `waiting` until an attempt has come to its end; `done` also for what is never shown. */
export type PreviewState = 'waiting' | 'done' | 'error'

/** What of a file is shown, decided once: when its content comes in. */
export interface PreviewRules {
  /** Bytes of content; larger files are not looked at. 0 switches previews off. */
  readonly maxBytes: number
  /** Kinds that this process can make previews of. */
  readonly kinds: readonly PreviewKind[]
}

/** The company file that previews belong to. */
export interface PreviewedFile {
  readonly id: string
  readonly companyId: string
}

/** Previews of company files, which are blobs of their own and go with their file. */
export interface Previews {
  /** Of `PreviewRules`. */
  readonly maxBytes: number
  /** What of a file with this name, type and size is to be shown; undefined for nothing. */
  formatOf(text: CompanyFileText, size: number): PreviewFormat | undefined
  /** Asks for the previews of a new file. @returns whether it is to have some */
  request(
    writer: Writer,
    file: PreviewedFile,
    content: StoredBlob & { readonly text: CompanyFileText },
  ): Promise<boolean>
  /** Forgets the previews of a file, and asks for those of its new content. */
  renew(
    writer: Writer,
    release: Release,
    file: PreviewedFile,
    content: StoredBlob & { readonly text: CompanyFileText },
  ): Promise<void>
  /** Forgets the previews of a file and whether they failed. */
  forget(writer: Writer, release: Release, fileId: string): Promise<void>
  /** Gives a file its previews, which take the places from 0. */
  add(
    writer: Writer,
    file: PreviewedFile,
    pages: readonly (PreviewText & { readonly staged: StagedBlob })[],
  ): Promise<void>
  /** In their order. */
  list(reader: Reader, file: PreviewedFile): Promise<Preview[]>
  /** @throws CoreError preview_not_found */
  find(reader: Reader, file: PreviewedFile, position: number): Promise<Preview>
}

export function createPreviews(keyring: Keyring, clock: Clock, rules: PreviewRules): Previews {
  const column = sealedJson<PreviewText & BlobLink>(keyring, 'preview')
  const rowId = (file: PreviewedFile, position: number) => `${file.id}.${position}`

  function formatOf(text: CompanyFileText, size: number): PreviewFormat | undefined {
    if (size === 0 || size > rules.maxBytes) return undefined
    const format = previewFormat(text)
    return format && rules.kinds.includes(format.kind) ? format : undefined
  }

  async function forget(writer: Writer, release: Release, fileId: string): Promise<void> {
    await writer.deleteFrom('preview_job').where('file_id', '=', fileId).execute()
    const rows = await writer
      .deleteFrom('preview')
      .where('file_id', '=', fileId)
      .returning('blob_id')
      .execute()
    for (const { blob_id } of rows) await release(blob_id)
  }

  const request: Previews['request'] = async (writer, file, { id: blobId, size, text }) => {
    const format = formatOf(text, size)
    if (!format) return false
    await writer
      .insertInto('preview_job')
      .values({
        file_id: file.id,
        blob_id: blobId,
        state: 'waiting',
        slow: format.kind === 'office' || format.kind === 'video' ? 1 : 0,
        attempts: 0,
        leased_until: 0,
        lease_owner: null,
        created_at: clock(),
      })
      .execute()
    return true
  }

  function select(reader: Reader, { id }: PreviewedFile) {
    return reader
      .selectFrom('preview')
      .innerJoin('blob', 'blob.id', 'preview.blob_id')
      .select(['preview.position', 'preview.sealed', 'blob.id', 'blob.size'])
      .where('preview.file_id', '=', id)
      .orderBy('preview.position')
  }

  const opened =
    (file: PreviewedFile) =>
    (row: { position: number; sealed: Uint8Array; id: string; size: number }): Preview => {
      const { blobId, ...text } = column.open(rowId(file, row.position), file.companyId, row.sealed)
      requireLink(row.id, blobId)
      return { ...text, blob: { id: row.id, size: row.size } }
    }

  return {
    maxBytes: rules.maxBytes,
    formatOf,
    forget,

    request,

    async renew(writer, release, file, content) {
      await forget(writer, release, file.id)
      await request(writer, file, content)
    },

    async add(writer, file, pages) {
      for (const [position, { staged, type, width, height }] of pages.entries()) {
        const sealed = column.seal(rowId(file, position), file.companyId, {
          blobId: staged.id,
          type,
          width,
          height,
        })
        await writer
          .insertInto('preview')
          .values({ file_id: file.id, position, blob_id: staged.id, sealed })
          .execute()
      }
    },

    list: async (reader, file) => (await select(reader, file).execute()).map(opened(file)),

    async find(reader, file, position) {
      const row = await select(reader, file).where('position', '=', position).executeTakeFirst()
      if (!row) throw new CoreError('preview_not_found', 'Thumbnail not found')
      return opened(file)(row)
    },
  }
}
