import { CoreError } from '../../../core/errors.ts'
import { free } from '../../../core/memory.ts'

/**
 * The memory of all uploads together: buffers of one part each. An upload waits for its first one and
 * for no other, so that none waits for itself.
 */
export interface PartBuffers {
  /** @throws CoreError storage_unavailable when none came free in time */
  take(): Promise<Buffer>
  /** One more, for an upload to fill while another is on its way; undefined when they are scarce. */
  takeSpare(): Buffer | undefined
  giveBack(buffer: Buffer): void
}

export interface BufferLimits {
  /** Bytes of each. */
  readonly size: number
  readonly most: number
  /** Nothing is spared when as many as this are in use. */
  readonly scarceFrom: number
  /** As many are kept when nobody needs them. */
  readonly kept: number
  /** Milliseconds. */
  readonly longestWait: number
}

export function createPartBuffers(limits: BufferLimits): PartBuffers {
  const idle: Buffer[] = []
  const waiting = new Set<(buffer: Buffer) => void>()
  let inUse = 0

  function next(): Buffer {
    inUse += 1
    return idle.pop() ?? Buffer.allocUnsafeSlow(limits.size)
  }

  return {
    take() {
      if (inUse < limits.most) return Promise.resolve(next())
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(receive)
          reject(new CoreError('storage_unavailable', 'too many uploads at once'))
        }, limits.longestWait)
        function receive(buffer: Buffer): void {
          clearTimeout(timer)
          resolve(buffer)
        }
        waiting.add(receive)
      })
    },

    takeSpare: () => (inUse < limits.scarceFrom ? next() : undefined),

    giveBack(buffer) {
      for (const receive of waiting) {
        waiting.delete(receive)
        receive(buffer)
        return
      }
      inUse -= 1
      if (idle.length < limits.kept) idle.push(buffer)
      else free(buffer)
    },
  }
}
