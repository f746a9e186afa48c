import type { Kysely } from 'kysely'

/** Previews of company files and the work of making them. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const { schema } = db
  await schema
    .createTable('preview')
    .addColumn('file_id', 'text', (c) => c.notNull().references('company_file.id'))
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('blob_id', 'text', (c) => c.notNull().references('blob.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addPrimaryKeyConstraint('preview_key', ['file_id', 'position'])
    .execute()
  await schema.createIndex('preview_blob').on('preview').column('blob_id').execute()

  await schema
    .createTable('preview_job')
    .addColumn('file_id', 'text', (c) => c.primaryKey().notNull().references('company_file.id'))
    .addColumn('blob_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('slow', 'integer', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('leased_until', 'bigint', (c) => c.notNull())
    .addColumn('lease_owner', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createIndex('preview_job_waiting')
    .on('preview_job')
    .columns(['state', 'slow', 'created_at'])
    .execute()
}
