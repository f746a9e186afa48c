import { type Kysely, sql } from 'kysely'

/** Files of companies and their chunked uploads. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const { schema } = db
  // Before, the store's name of a part followed from its blob and number.
  await schema
    .alterTable('blob_part')
    .addColumn('object', 'text', (c) => c.notNull().defaultTo(''))
    .execute()
  await sql`update blob_part
    set object = 'blobs/' || substr(blob_id, 1, 2) || '/' || blob_id || '.' || number`.execute(db)
  await schema.createIndex('blob_part_object').unique().on('blob_part').column('object').execute()

  await schema
    .createTable('company_file')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('company_id', 'text', (c) => c.notNull().references('company.id'))
    .addColumn('maker_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('blob_id', 'text', (c) => c.references('blob.id'))
    .addColumn('chunks', 'integer')
    .addColumn('sealed', 'blob')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('company_file_company').on('company_file').column('company_id').execute()
  await schema.createIndex('company_file_blob').on('company_file').column('blob_id').execute()

  await schema
    .createTable('company_upload')
    .addColumn('file_id', 'text', (c) => c.primaryKey().notNull().references('company_file.id'))
    .addColumn('blob_id', 'text', (c) => c.notNull().unique().references('blob.id'))
    .addColumn('maker_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('total_chunks', 'integer')
    .addColumn('total_size', 'bigint')
    .addColumn('differs', 'integer', (c) => c.notNull())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createIndex('company_upload_expiry')
    .on('company_upload')
    .column('expires_at')
    .execute()
}
