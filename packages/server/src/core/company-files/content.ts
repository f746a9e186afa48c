import type { Blobs } from '../blobs/blobs.ts'
import type { ReceivedBlobs } from '../blobs/received.ts'
import { type Comparison, compareWith } from '../blobs/same-bytes.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { CompanyRecord, CompanyRecords, UploadClaim } from './records.ts'
import { fits, numberOf } from './totals.ts'

/** Holds chunks that arrive against the chunks of a whole file. */
export interface CompanyContent {
  /**
   * Reads bytes that must be what the file holds at their place.
   *
   * @throws CoreError company_file_forbidden at the first difference, or what `source` throws
   */
  requireSame(
    record: CompanyRecord,
    claim: UploadClaim,
    source: AsyncIterable<Uint8Array>,
  ): Promise<void>
  /** Hands bytes to `use` and finds out on the way whether they are what the file holds there. */
  compare<T>(
    record: CompanyRecord,
    claim: UploadClaim,
    source: AsyncIterable<Uint8Array>,
    use: (source: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<{ result: T; same: boolean }>
}

export function createCompanyContent(
  database: Database,
  blobs: Blobs,
  received: ReceivedBlobs,
  records: CompanyRecords,
): CompanyContent {
  /** Nothing when the file has no such chunk. */
  async function comparisonWith(
    record: CompanyRecord,
    claim: UploadClaim,
  ): Promise<Comparison | undefined> {
    if (!fits(claim, record.file.chunks, record.size)) return undefined
    const blob = records.contentOf(record)
    const chunks = await received.chunks(database.read, blob, record.file.chunks)
    const number = numberOf(claim)
    const chunk = chunks[number - 1]
    if (!chunk) return undefined
    const start = chunks.slice(0, number - 1).reduce((sum, { size }) => sum + size, 0)
    return compareWith(blobs.read(blob, start, start + chunk.size))
  }

  const compare: CompanyContent['compare'] = async (record, claim, source, use) => {
    const release = blobs.hold(records.contentOf(record).id)
    const comparison = await comparisonWith(record, claim)
    try {
      if (!comparison) return { result: await use(source), same: false }
      const result = await use(compared(source, comparison))
      return { result, same: await ifReadable(comparison.end()) }
    } finally {
      await comparison?.close()
      release()
    }
  }

  return {
    compare,

    async requireSame(record, claim, source) {
      const release = blobs.hold(records.contentOf(record).id)
      const comparison = await comparisonWith(record, claim)
      try {
        if (!comparison) throw otherContent()
        for await (const bytes of source) {
          if (!(await comparison.add(bytes))) throw otherContent()
        }
        if (!(await comparison.end())) throw otherContent()
      } finally {
        await comparison?.close()
        release()
      }
    },
  }
}

async function* compared(
  source: AsyncIterable<Uint8Array>,
  comparison: Comparison,
): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    await ifReadable(comparison.add(bytes))
    yield bytes
  }
}

/** A damaged file can be overwritten: what cannot be read is not the same. */
function ifReadable(same: Promise<boolean>): Promise<boolean> {
  return same.catch(() => false)
}

function otherContent(): CoreError {
  return new CoreError('company_file_forbidden', 'Only applications overwrite a complete file')
}
