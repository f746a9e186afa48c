import { type Kysely, sql } from 'kysely'
import { isPostgres } from '../postgres-dialect.ts'

/** Files of accounts, their search, PINs and downloads. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const { schema } = db
  await schema
    .createTable('category')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('owner_id', 'text', (c) => c.notNull().unique().references('identity.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('account_file')
    .addColumn('n', 'integer', (c) => c.primaryKey().autoIncrement())
    .addColumn('id', 'text', (c) => c.notNull().unique())
    .addColumn('owner_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('category_id', 'text', (c) => c.notNull().references('category.id'))
    .addColumn('blob_id', 'text', (c) => c.references('blob.id'))
    .addColumn('disk', 'text', (c) => c.notNull())
    .addColumn('size', 'bigint', (c) => c.notNull())
    .addColumn('encrypted_size', 'bigint', (c) => c.notNull())
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('trashed_at', 'bigint')
    .execute()
  for (const column of ['n', 'size', 'encrypted_size'] as const) {
    const columns = column === 'n' ? ['owner_id', 'n'] : ['owner_id', column, 'n']
    await schema
      .createIndex(`account_file_by_${column}`)
      .on('account_file')
      .columns(columns)
      .execute()
    // What is in the trash is few among many; the rest is nearly all and needs no index of its own.
    await schema
      .createIndex(`account_trash_by_${column}`)
      .on('account_file')
      .columns(columns)
      .where(sql.ref('trashed_at'), 'is not', null)
      .execute()
  }
  await schema.createIndex('account_file_blob').on('account_file').column('blob_id').execute()
  await schema.createIndex('account_file_trashed').on('account_file').column('trashed_at').execute()

  await schema
    .createTable('account_usage')
    .addColumn('owner_id', 'text', (c) => c.primaryKey().notNull().references('identity.id'))
    .addColumn('files', 'bigint', (c) => c.notNull())
    .addColumn('trashed', 'bigint', (c) => c.notNull())
    .addColumn('bytes', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('search_todo')
    .addColumn('n', 'integer', (c) => c.primaryKey())
    .addColumn('owner_id', 'text', (c) => c.notNull())
    .execute()
  await schema.createIndex('search_todo_owner').on('search_todo').column('owner_id').execute()
  await createNameIndex(db)

  await createPinTables(schema)
  await createDownloadTables(schema)
}

async function createNameIndex(db: Kysely<never>): Promise<void> {
  if (isPostgres(db)) {
    await sql`create table name_search (
      n bigint primary key references account_file (n) on delete cascade,
      tokens bigint[] not null
    )`.execute(db)
    await sql`create index name_search_tokens on name_search using gin (tokens)`.execute(db)
    return
  }
  await sql`create virtual table name_search using fts5(
    tokens, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
  )`.execute(db)
}

async function createPinTables(schema: Kysely<never>['schema']): Promise<void> {
  await schema
    .createTable('pin')
    .addColumn('identity_id', 'text', (c) => c.primaryKey().notNull().references('identity.id'))
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('pin_failure')
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('address_index', 'blob', (c) => c.notNull())
    .addColumn('failures', 'integer', (c) => c.notNull())
    .addColumn('until', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('pin_failure_key', ['identity_id', 'address_index'])
    .execute()

  await schema
    .createTable('pin_key')
    .addColumn('key_hash', 'blob', (c) => c.primaryKey().notNull())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
}

async function createDownloadTables(schema: Kysely<never>['schema']): Promise<void> {
  await schema
    .createTable('download')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('identity_id', 'text', (c) => c.notNull().references('identity.id'))
    .addColumn('key_hash', 'blob')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('busy_until', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('download_expiry').on('download').column('expires_at').execute()

  await schema
    .createTable('download_file')
    .addColumn('download_id', 'text', (c) =>
      c.notNull().references('download.id').onDelete('cascade'),
    )
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('file_id', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('download_file_key', ['download_id', 'position'])
    .execute()
}
