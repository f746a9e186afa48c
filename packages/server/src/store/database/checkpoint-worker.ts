import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** What one pass left: pages in the log that are not in the database file yet. */
export interface CheckpointReport {
  pagesLeft: number
}

// A connection of its own, so that copying pages and its syncs never stop the event loop. NORMAL at
// least: with OFF a crash corrupts the database.
const database = new DatabaseSync(workerData as string, { timeout: 1000 })
database.exec('pragma synchronous = normal')
const pass = database.prepare('pragma wal_checkpoint(passive)')
const SQLITE_FULL = 13

parentPort?.on('message', (message: 'pass' | 'close') => {
  if (message === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  parentPort?.postMessage(checkpoint())
})

function checkpoint(): CheckpointReport {
  try {
    const row = pass.get() as { log: number; checkpointed: number }
    return { pagesLeft: Math.max(0, row.log - row.checkpointed) }
  } catch (error) {
    // No room in the database file: everything stays in the log, and a later pass tries again.
    if ((error as { errcode?: number }).errcode === SQLITE_FULL) return { pagesLeft: 0 }
    throw error
  }
}
