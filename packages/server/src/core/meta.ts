import type { Reader, Writer } from './database.ts'

/** What the database says of itself under a key; undefined when it says nothing. */
export async function readMeta(reader: Reader, key: string): Promise<string | undefined> {
  const row = await reader
    .selectFrom('meta')
    .select('value')
    .where('key', '=', key)
    .executeTakeFirst()
  return row?.value
}

/** Says something else under a key, or says it first. */
export async function putMeta(writer: Writer, key: string, value: string): Promise<void> {
  await writer
    .insertInto('meta')
    .values({ key, value })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
    .execute()
}
