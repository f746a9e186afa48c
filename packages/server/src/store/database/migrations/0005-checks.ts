import type { Kysely } from 'kysely'

/** What scrubs found. The meaning of each column: `docs/database.md`. */
export async function up({ schema }: Kysely<never>): Promise<void> {
  await schema
    .createTable('scrub_finding')
    .addColumn('blob_id', 'text', (c) => c.notNull())
    .addColumn('number', 'integer', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('object', 'text')
    .addColumn('message', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('scrub_finding_key', ['blob_id', 'number'])
    .execute()
}
