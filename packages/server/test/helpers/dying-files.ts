import type { FileHandle } from 'node:fs/promises'
import { type Files, nodeFiles } from '../../src/store/files.ts'

/** Files as a process sees them that can end at any moment: from then on no call returns. */
export interface DyingFiles {
  readonly files: Files
  /** Lets what has begun end, and closes what is open, as the end of a process does. */
  die(): Promise<void>
}

export function createDyingFiles(): DyingFiles {
  const open = new Set<FileHandle>()
  const running = new Set<Promise<unknown>>()
  let dead = false

  function call<T>(work: () => Promise<T>): Promise<T> {
    if (dead) return new Promise(() => undefined)
    const result = work()
    const ended = result.catch(() => undefined).finally(() => running.delete(ended))
    running.add(ended)
    return result
  }

  function living<T extends object>(target: T): T {
    return new Proxy(target, {
      get(_target, name) {
        const value = Reflect.get(target, name) as unknown
        if (typeof value !== 'function') return value
        return (...words: unknown[]) => call(async () => handle(await value.apply(target, words)))
      },
    })
  }

  function handle(result: unknown): unknown {
    const isHandle = typeof (result as FileHandle | undefined)?.datasync === 'function'
    if (!isHandle) return result
    open.add(result as FileHandle)
    return living(result as FileHandle)
  }

  return {
    files: living(nodeFiles as object) as Files,
    async die() {
      dead = true
      await Promise.all(running)
      // Of one that is closed already this does nothing.
      for (const file of open) await file.close()
    },
  }
}
