import { Presets, SingleBar } from 'cli-progress'
import type { OnProgress } from '../core/checks/findings.ts'

/** What a check says of how far it has come. */
export interface Progress {
  readonly onProgress: OnProgress | undefined
  stop(): void
}

/** A bar for each step, on the standard error of somebody who looks at a terminal; else nothing. */
export function showProgress(isWanted: boolean): Progress {
  if (!isWanted || !process.stderr.isTTY) return { onProgress: undefined, stop: () => undefined }
  let bar: SingleBar | undefined
  let current = ''

  function stop(): void {
    bar?.stop()
    bar = undefined
  }

  return {
    onProgress(step, done, total) {
      if (step !== current) {
        stop()
        current = step
        const format = `${step} {bar} {percentage}% | {value}/{total} | {eta_formatted} left`
        bar = new SingleBar({ format, clearOnComplete: true }, Presets.shades_classic)
        bar.start(total, done)
      }
      bar?.setTotal(Math.max(total, done))
      bar?.update(done)
    },
    stop,
  }
}
