import { type Kysely, sql } from 'kysely'

/** Epochs and what is sealed to each. The meaning of each column: `docs/database.md`. */
export async function up(db: Kysely<never>): Promise<void> {
  const { schema } = db
  await schema
    .createTable('epoch')
    .addColumn('number', 'integer', (c) => c.primaryKey())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  // At most one of each.
  await schema
    .createIndex('epoch_state')
    .unique()
    .on('epoch')
    .column('state')
    .where(sql.ref('state'), 'in', ['announced', 'current'])
    .execute()
  await sql`insert into epoch (number, state, created_at)
    values (1, 'current', ${Date.now()})`.execute(db)

  await schema
    .createTable('rekey_object')
    .addColumn('object', 'text', (c) => c.primaryKey().notNull())
    .execute()

  await schema.createIndex('blob_part_by_epoch').on('blob_part').column('epoch').execute()
  for (const table of await db.introspection.getTables()) {
    if (!table.columns.some((column) => column.name === 'sealed')) continue
    // The epoch stands behind the version, see `sealed-column.ts`.
    await schema
      .createIndex(`${table.name}_sealed_epoch`)
      .on(table.name)
      .expression(sql`substr(sealed, 2, 4)`)
      .execute()
  }
}
