import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** To look how long the log is, to copy what is in it now, or to end. */
export type CheckpointTask = 'look' | 'pass' | 'close'

export interface CheckpointReport {
  /** In the log, also those that were copied already. */
  pages: number
}

// A connection of its own, so that copying pages and its syncs never stop the event loop. NORMAL at
// least: with OFF a crash corrupts the database.
const database = new DatabaseSync(workerData as string, { timeout: 1000 })
database.exec('pragma synchronous = normal')
const look = database.prepare('pragma wal_checkpoint(noop)')
const pass = database.prepare('pragma wal_checkpoint(passive)')
const SQLITE_FULL = 13

parentPort?.on('message', (task: CheckpointTask) => {
  if (task === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  parentPort?.postMessage(report(task === 'look' ? look : pass))
})

parentPort?.postMessage(report(look))

function report(statement: StatementSync): CheckpointReport {
  try {
    const { log } = statement.get() as { log: number }
    return { pages: Math.max(0, log) }
  } catch (error) {
    // No room in the database file: everything stays in the log, and a later pass tries again.
    if ((error as { errcode?: number }).errcode === SQLITE_FULL) return { pages: 0 }
    throw error
  }
}
