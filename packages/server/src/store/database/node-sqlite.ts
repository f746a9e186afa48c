import type { DatabaseSync, StatementSync } from 'node:sqlite'
import {
  CompiledQuery,
  Kysely,
  type SqliteDatabase,
  SqliteDialect,
  type SqliteStatement,
} from 'kysely'
import type { Schema } from '../../core/schema.ts'

/** Prepared statements kept per connection; the queries of this program are far fewer. */
const STATEMENTS_KEPT = 500

type Parameters = (null | number | bigint | string | Uint8Array)[]

class Statement implements SqliteStatement {
  readonly reader: boolean
  readonly #statement: StatementSync

  constructor(statement: StatementSync) {
    this.#statement = statement
    this.reader = statement.columns().length > 0
    // The full-text index numbers rows of its own beyond what a number holds, and `run` tells the last.
    if (!this.reader) statement.setReadBigInts(true)
  }

  all(parameters: readonly unknown[]): unknown[] {
    return this.#statement.all(...(parameters as Parameters))
  }

  run(parameters: readonly unknown[]): {
    changes: number | bigint
    lastInsertRowid: number | bigint
  } {
    return this.#statement.run(...(parameters as Parameters))
  }

  iterate(parameters: readonly unknown[]): IterableIterator<unknown> {
    return this.#statement.iterate(...(parameters as Parameters))
  }
}

class Connection implements SqliteDatabase {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, Statement>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  prepare(text: string): SqliteStatement {
    // A deferred transaction that reads first can fail at its first write in a way no waiting cures.
    let sql = text === 'begin' ? 'begin immediate' : text
    // On some errors (a full disk is one) SQLite has rolled back by itself; to do it again would be
    // an error that hides the first.
    if (text === 'rollback' && !this.#database.isTransaction) sql = 'select 1'
    const known = this.#statements.get(sql)
    if (known) return known
    const statement = new Statement(this.#database.prepare(sql))
    if (this.#statements.size >= STATEMENTS_KEPT) this.#statements.clear()
    this.#statements.set(sql, statement)
    return statement
  }

  close(): void {
    this.#statements.clear()
    this.#database.close()
  }
}

/** Kysely over one connection of `node:sqlite`. `destroy` closes the connection. */
export async function kyselyOver(database: DatabaseSync): Promise<Kysely<Schema>> {
  const kysely = new Kysely<Schema>({
    dialect: new SqliteDialect({ database: new Connection(database) }),
  })
  // Kysely closes only a connection that it has used.
  await kysely.executeQuery(CompiledQuery.raw('select 1'))
  return kysely
}
