import assert from 'node:assert/strict'
import type { FileHandle } from 'node:fs/promises'
import { type Files, nodeFiles } from '../packages/server/src/store/files.ts'
import { systemError } from '../packages/server/test/helpers/builtins.ts'

/** What the blob folder asks for, of a path or of an open file. */
export const CALLS = [
  ...['mkdir', 'open', 'opendir', 'rename', 'stat', 'unlink'],
  ...['writev', 'datasync', 'sync', 'read', 'close'],
] as const
export type Call = (typeof CALLS)[number]

/** A call that goes wrong once: with an error, or by writing only a part. */
export interface FileFault {
  readonly call: Call
  /** From 1. */
  readonly nth: number
  readonly code: string
}

/** A write that takes only some of the bytes, which is no error. */
export const SHORT = 'short'

/** Files of the operating system's, of which one call at a time goes wrong. */
export interface FaultyFiles {
  readonly files: Files
  /** Lets a call go wrong from now on, or none. */
  arm(fault: FileFault | undefined): void
  /** Whether it has gone wrong. */
  fired(): boolean
  /** Descriptors that are open. */
  open(): number
}

export function createFaultyFiles(): FaultyFiles {
  let fault: FileFault | undefined
  let seen = 0
  let open = 0

  /** @returns whether a write has to be short */
  function meet(call: string): boolean {
    if (fault?.call !== call) return false
    seen += 1
    if (seen !== fault.nth) return false
    if (fault.code === SHORT) return true
    throw systemError(fault.code)
  }

  function wrap(handle: FileHandle): FileHandle {
    open += 1
    let syncFailed = false
    let isOpen = true
    return new Proxy(handle, {
      get(_target, name) {
        const real = Reflect.get(handle, name) as unknown
        if (typeof real !== 'function') return real
        return async (...words: unknown[]) => {
          if (name === 'close') {
            if (isOpen) open -= 1
            isOpen = false
            // The descriptor is gone also when closing it fails.
            await handle.close()
            meet('close')
            return undefined
          }
          if (name === 'datasync' || name === 'sync') {
            assert.ok(!syncFailed, 'a file whose sync failed is given up')
            syncFailed = true
          }
          const isShort = meet(String(name))
          const result = await real.apply(handle, isShort ? shortened(words) : words)
          syncFailed = false
          return result
        }
      },
    })
  }

  const files = new Proxy(nodeFiles, {
    get(target, name: keyof Files) {
      const real = target[name] as (...words: unknown[]) => Promise<unknown>
      return async (...words: unknown[]) => {
        meet(name)
        const result = await real(...words)
        return name === 'open' ? wrap(result as FileHandle) : result
      }
    },
  })

  return {
    files,
    arm(next) {
      fault = next
      seen = 0
    },
    fired: () => fault !== undefined && seen >= fault.nth,
    open: () => open,
  }
}

/** Half of the first piece of a `writev`. */
function shortened([pieces, position]: unknown[]): unknown[] {
  const [first] = pieces as Uint8Array[]
  assert.ok(first)
  return [[first.subarray(0, Math.ceil(first.byteLength / 2))], position]
}
