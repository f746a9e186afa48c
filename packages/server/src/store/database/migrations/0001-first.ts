import { type Kysely, sql } from 'kysely'
import { isPostgres } from '../postgres-dialect.ts'

/** People, companies, stored bytes and boxes. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const schema = db.schema

  await schema
    .createTable('meta')
    .addColumn('key', 'text', (c) => c.primaryKey().notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute()

  await schema
    .createTable('identity')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('account_id', 'text')
    .addColumn('email_index', 'blob', (c) => c.unique())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('session')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('token_hash', 'blob', (c) => c.notNull().unique())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('acr', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createIndex('session_identity')
    .on('session')
    .columns(['identity_id', 'expires_at'])
    .execute()

  await schema
    .createTable('api_token')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('token_hash', 'blob', (c) => c.notNull().unique())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('last_used_at', 'bigint')
    .addColumn('expires_at', 'bigint')
    .execute()
  await schema
    .createIndex('api_token_identity')
    .on('api_token')
    .columns(['identity_id', 'created_at'])
    .execute()

  await schema
    .createTable('company')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('company_member')
    .addColumn('company_id', 'text', (c) => c.notNull().references('company.id'))
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('company_member_key', ['company_id', 'identity_id'])
    .execute()
  await schema
    .createIndex('company_member_identity')
    .on('company_member')
    .column('identity_id')
    .execute()

  await createBlobTables(db)
  await createBoxTables(schema)
  await createSavedFileTables(schema)
}

async function createBlobTables(db: Kysely<never>): Promise<void> {
  const { schema } = db
  await schema
    .createTable('blob')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('size', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('sealed', 'blob')
    .execute()
  await schema
    .createIndex('blob_deleting')
    .on('blob')
    .column('id')
    .where(sql.ref('state'), '=', 'deleting')
    .execute()

  await schema
    .createTable('blob_part')
    .addColumn('blob_id', 'text', (c) => c.notNull().references('blob.id'))
    .addColumn('number', 'integer', (c) => c.notNull())
    .addColumn('plain_size', 'bigint', (c) => c.notNull())
    .addColumn('sealed_size', 'bigint', (c) => c.notNull())
    .addColumn('epoch', 'integer', (c) => c.notNull())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addPrimaryKeyConstraint('blob_part_key', ['blob_id', 'number'])
    .execute()

  await schema
    .createTable('small_content')
    .addColumn('blob_id', 'text', (c) => c.primaryKey().notNull().references('blob.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .execute()
  if (isPostgres(db)) {
    // Sealed bytes cannot be compressed.
    await sql`alter table small_content alter column sealed set storage external`.execute(db)
  }
}

async function createBoxTables(schema: Kysely<never>['schema']): Promise<void> {
  await schema
    .createTable('box')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('owner_org_id', 'text', (c) => c.notNull())
    .addColumn('creator_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('access_mode', 'text', (c) => c.notNull())
    .addColumn('last_event', 'bigint', (c) => c.notNull())
    .addColumn('used_bytes', 'bigint')
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('box_creator').on('box').column('creator_id').execute()

  await schema
    .createTable('box_member')
    .addColumn('box_id', 'text', (c) => c.notNull().references('box.id'))
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('muted', 'integer', (c) => c.notNull())
    .addColumn('seen_event', 'bigint', (c) => c.notNull())
    .addColumn('joined_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('box_member_key', ['box_id', 'identity_id'])
    .execute()
  await schema.createIndex('box_member_identity').on('box_member').column('identity_id').execute()

  await schema
    .createTable('box_event')
    .addColumn('n', 'integer', (c) => c.primaryKey().autoIncrement())
    .addColumn('id', 'text', (c) => c.notNull().unique())
    .addColumn('box_id', 'text', (c) => c.notNull().references('box.id'))
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('sender_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('referrer_id', 'text')
    .addColumn('blob_id', 'text', (c) => c.references('blob.id'))
    .addColumn('size', 'bigint', (c) => c.notNull())
    .addColumn('sealed', 'blob')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('deleted_at', 'bigint')
    .addColumn('deleted_by', 'text', (c) => c.references('identity.id'))
    .execute()
  await schema.createIndex('box_event_box').on('box_event').columns(['box_id', 'n']).execute()
  await schema.createIndex('box_event_referrer').on('box_event').column('referrer_id').execute()
  await schema.createIndex('box_event_blob').on('box_event').column('blob_id').execute()

  await schema
    .createTable('box_key_share')
    .addColumn('hash', 'text', (c) => c.primaryKey().notNull())
    .addColumn('box_id', 'text', (c) => c.notNull().references('box.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('box_key_share_box').on('box_key_share').column('box_id').execute()
}

async function createSavedFileTables(schema: Kysely<never>['schema']): Promise<void> {
  await schema
    .createTable('saved_file')
    .addColumn('n', 'integer', (c) => c.primaryKey().autoIncrement())
    .addColumn('id', 'text', (c) => c.notNull().unique())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('blob_id', 'text', (c) => c.notNull().references('blob.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addUniqueConstraint('saved_file_once', ['identity_id', 'blob_id'])
    .execute()
  await schema
    .createIndex('saved_file_identity')
    .on('saved_file')
    .columns(['identity_id', 'n'])
    .execute()
  await schema.createIndex('saved_file_blob').on('saved_file').column('blob_id').execute()

  await schema
    .createTable('quotum')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('value', 'bigint', (c) => c.notNull())
    .addColumn('origin', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addUniqueConstraint('quotum_origin', ['identity_id', 'origin'])
    .execute()
}
