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

parentPort?.on('message', (message: 'pass' | 'close') => {
  if (message === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  const row = pass.get() as { log: number; checkpointed: number }
  const report: CheckpointReport = { pagesLeft: Math.max(0, row.log - row.checkpointed) }
  parentPort?.postMessage(report)
})
