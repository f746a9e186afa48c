import { sql } from 'kysely'
import type { Reader } from '../database.ts'
import { CoreError } from '../errors.ts'

/** How much the files of one company may take. */
export interface CompanyQuota {
  /** Bytes that are still free; unfinished uploads take what they announced. */
  room(reader: Reader, companyId: string): Promise<number>
  /** Called in the transaction that stores, after its rows are written. @throws CoreError quota_exceeded */
  require(reader: Reader, companyId: string): Promise<void>
}

/** @param limit bytes, or undefined for any number */
export function createCompanyQuota(limit: number | undefined): CompanyQuota {
  async function room(reader: Reader, companyId: string): Promise<number> {
    if (limit === undefined) return Number.POSITIVE_INFINITY
    return limit - (await wholeBytes(reader, companyId)) - (await uploadBytes(reader, companyId))
  }
  return {
    room,
    async require(reader, companyId) {
      if ((await room(reader, companyId)) >= 0) return
      throw new CoreError('quota_exceeded', "the company's storage is used up")
    },
  }
}

async function wholeBytes(reader: Reader, companyId: string): Promise<number> {
  const { bytes } = await reader
    .selectFrom('company_file')
    .innerJoin('blob', 'blob.id', 'company_file.blob_id')
    .select((eb) => eb.fn.coalesce(eb.fn.sum<number>('blob.size'), eb.lit(0)).as('bytes'))
    .where('company_file.company_id', '=', companyId)
    .executeTakeFirstOrThrow()
  return bytes
}

/** Of each unfinished upload what it announced, or what has come when that is more. */
async function uploadBytes(reader: Reader, companyId: string): Promise<number> {
  const rows = await reader
    .selectFrom('company_upload')
    .innerJoin('company_file', 'company_file.id', 'company_upload.file_id')
    .select([
      'company_upload.total_size',
      sql<number>`(select coalesce(sum(plain_size), 0) from blob_part
        where blob_part.blob_id = company_upload.blob_id)`.as('received'),
    ])
    .where('company_file.company_id', '=', companyId)
    .execute()
  return rows.reduce((sum, row) => sum + Math.max(row.total_size ?? 0, row.received), 0)
}
