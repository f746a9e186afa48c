import { type Kysely, sql } from 'kysely'
import { isPostgres } from '../postgres-dialect.ts'

/** Several processes on one store. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const { schema } = db
  await schema
    .createTable('server_process')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('started_at', 'bigint', (c) => c.notNull())
    .addColumn('heard_at', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('staged_object')
    .addColumn('object', 'text', (c) => c.primaryKey().notNull())
    .addColumn('process_id', 'text', (c) => c.notNull().references('server_process.id'))
    .execute()
  await schema
    .createIndex('staged_object_by_process')
    .on('staged_object')
    .column('process_id')
    .execute()

  await schema
    .createTable('lease')
    .addColumn('name', 'text', (c) => c.primaryKey().notNull())
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('until', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('request_window')
    .addColumn('address_index', 'blob', (c) => c.primaryKey().notNull())
    .addColumn('requests', 'integer', (c) => c.notNull())
    .addColumn('until', 'bigint', (c) => c.notNull())
    .execute()
  // Counts of a minute need not outlive a crash, nor wait for a disk.
  if (isPostgres(db)) await sql`alter table request_window set unlogged`.execute(db)

  await schema.alterTable('blob').addColumn('kept_until', 'bigint').execute()
}
