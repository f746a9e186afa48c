import { Presets, SingleBar } from 'cli-progress'
import type { OnProgress } from '../core/checks/findings.ts'

/** What a check says of how far it has come. */
export interface Progress {
  readonly onProgress: OnProgress | undefined
  stop(): void
}

const MIB = 1024 * 1024

/** A bar for each step, on the standard error of somebody who looks at a terminal; else nothing. */
export function showProgress(isWanted: boolean): Progress {
  if (!isWanted || !process.stderr.isTTY) return { onProgress: undefined, stop: () => undefined }
  let bar: SingleBar | undefined
  let current = ''
  let began = { at: 0, done: 0 }

  function stop(): void {
    bar?.stop()
    bar = undefined
  }

  return {
    onProgress(step, done, total, unit) {
      if (step !== current) {
        stop()
        current = step
        began = { at: performance.now(), done }
        bar = new SingleBar({ format: FORMAT, clearOnComplete: true }, Presets.shades_classic)
        bar.start(total, done, { step, ...estimate(began, done, total, unit) })
      }
      bar?.setTotal(Math.max(total, done))
      bar?.update(done, estimate(began, done, total, unit))
    },
    stop,
  }
}

const FORMAT = '{step} {bar} {percentage}% | {amount} | {rate} | {left}'

/** How far it has come, how fast, and how long the rest takes, at the rate since the step began. */
function estimate(
  began: { at: number; done: number },
  done: number,
  total: number,
  unit: 'bytes' | undefined,
): { amount: string; rate: string; left: string } {
  const seconds = (performance.now() - began.at) / 1000
  const rate = seconds > 0 ? (done - began.done) / seconds : 0
  const shown = (count: number) =>
    unit === 'bytes' ? `${(count / MIB).toFixed(1)} MiB` : String(Math.round(count))
  return {
    amount: `${shown(done)} of ${shown(Math.max(total, done))}`,
    rate: `${shown(rate)}/s`,
    left: rate > 0 ? `${durationInWords((total - done) / rate)} left` : '',
  }
}

function durationInWords(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const minutes = Math.round(whole / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
