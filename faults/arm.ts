/**
 * Preloaded into a server of the matrix (`node --import`): ends it, or lets a step fail, at a named
 * failpoint. What to do comes from the environment for the start, and from the parent later on.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { armFailpoints, type Failpoint } from '../packages/server/src/core/failpoints.ts'

/** What happens at a step. */
export interface Fault {
  readonly step: Failpoint
  /** Which hit of it from now on, from 1. */
  readonly hit: number
}

/** What a server of the matrix is told. */
export interface Order {
  /** Ends the process there (SIGKILL). Null disarms. */
  readonly kill?: Fault | null
  /** Milliseconds by which its clock is ahead of the machine's. */
  readonly clock?: number
  /** Whether syncs of the database's log fail from now on. */
  readonly failLogSyncs?: boolean
}

/** The answer to each order. */
export interface Report {
  /** The steps that were passed since the last order. */
  readonly passed: readonly Failpoint[]
}

let fault: Fault | undefined
let passed: Failpoint[] = []

armFailpoints((name) => {
  passed.push(name)
  const hits = passed.filter((step) => step === name).length
  if (fault?.step === name && hits === fault.hit) process.kill(process.pid, 'SIGKILL')
  return undefined
})

const now = Date.now
let ahead = 0
Date.now = () => now() + ahead

const sync = fs.fdatasync
let failLogSyncs = false
fs.fdatasync = ((descriptor: number, done: (error: Error | null) => void) => {
  if (!failLogSyncs) return sync(descriptor, done)
  setImmediate(() => done(Object.assign(new Error('EIO'), { code: 'EIO' })))
}) as typeof sync
syncBuiltinESMExports()

function obey(order: Order): Report {
  const report = { passed }
  passed = []
  if (order.kill !== undefined) fault = order.kill ?? undefined
  ahead = order.clock ?? ahead
  failLogSyncs = order.failLogSyncs ?? failLogSyncs
  return report
}

obey(JSON.parse(process.env.FAULTS_ORDER ?? '{}') as Order)
process.on('message', (order: Order) => process.send?.(obey(order)))
// The parent is no reason to stay.
process.channel?.unref()
