import { setTimeout as delay } from 'node:timers/promises'
import { failureOf, isTransient, S3Failure } from './failure.ts'

export type Operation =
  | 'put'
  | 'get'
  | 'head'
  | 'list'
  | 'copy'
  | 'delete'
  | 'create_upload'
  | 'upload_part'
  | 'complete_upload'
  | 'abort_upload'
  | 'list_uploads'
  | 'list_parts'

/**
 * Makes a request, and answers what it answers.
 *
 * @throws S3Failure
 */
export type Attempt = <T>(operation: Operation, request: () => Promise<T>) => Promise<T>

/** Told of every request that was sent. */
export type Observe = (
  operation: Operation,
  outcome: 'ok' | 'refused' | 'failed',
  seconds: number,
) => void

export interface Retries {
  /** How often a request is sent at most. */
  readonly attempts: number
  /** Milliseconds; the longest wait before the second attempt. It doubles with each further one. */
  readonly firstWait: number
  readonly longestWait: number
  /** Milliseconds after which no further attempt begins. */
  readonly within: number
}

/** The ways of requests. */
export interface Attempts {
  /** Measured one by one, tried again as a whole, so many at a time. */
  readonly patient: Attempt
  /** For who wants to know how it is now. */
  readonly once: Attempt
}

export function createAttempts(observe: Observe, retries: Retries, atOnce: number): Attempts {
  const once = measuring(observe, direct)
  return { once, patient: limiting(atOnce, retrying(retries, once)) }
}

const direct: Attempt = async (_operation, request) => {
  try {
    return await request()
  } catch (error) {
    throw failureOf(error)
  }
}

function measuring(observe: Observe, attempt: Attempt): Attempt {
  return async (operation, request) => {
    const begun = performance.now()
    const seconds = () => (performance.now() - begun) / 1000
    try {
      const result = await attempt(operation, request)
      observe(operation, 'ok', seconds())
      return result
    } catch (error) {
      observe(operation, isTransient(error) ? 'failed' : 'refused', seconds())
      throw error
    }
  }
}

/**
 * Every request here may be sent twice: names are given once, a part replaces itself, and what is
 * completed, copied, removed or aborted already is found to be so.
 */
function retrying(retries: Retries, attempt: Attempt): Attempt {
  return async (operation, request) => {
    const last = performance.now() + retries.within
    for (let number = 1; ; number += 1) {
      try {
        return await attempt(operation, request)
      } catch (error) {
        const isLast = number >= retries.attempts || performance.now() >= last
        if (isLast || !isTransient(error)) throw error
      }
      await backOff(retries, number)
    }
  }
}

/** Waits for a random time ("full jitter"), so that many who failed together do not return together. */
export function backOff({ firstWait, longestWait }: Retries, failures: number): Promise<void> {
  const most = Math.min(longestWait, firstWait * 2 ** (failures - 1))
  return delay(Math.random() * most)
}

function limiting(most: number, attempt: Attempt): Attempt {
  const waiting: (() => void)[] = []
  let running = 0
  return async (operation, request) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await attempt(operation, request)
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
}

/** What a request answers without the field it must have. */
export function incomplete(what: string): S3Failure {
  return new S3Failure('IncompleteAnswer', `an answer without ${what}`, undefined)
}
