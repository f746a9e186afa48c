import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Job, Measured } from './client.ts'

const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url))

/** Runs a job in a process of its own. @throws Error when an answer was not 2xx */
export async function ask(job: Job): Promise<Measured> {
  const child = spawn(process.execPath, [CLIENT], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify(job))
  const measured: Measured = JSON.parse(await text(child.stdout))
  if (measured.refused > 0) throw new Error(`${measured.refused} refused: ${measured.answer}`)
  return measured
}

/** Runs a job without an end in a process of its own. */
export function keepAsking(job: Omit<Job, 'requests'>): { stop(): Promise<void> } {
  const child = spawn(process.execPath, [CLIENT], { stdio: ['pipe', 'ignore', 'inherit'] })
  child.stdin.end(JSON.stringify({ ...job, requests: Number.MAX_SAFE_INTEGER }))
  const ended = once(child, 'exit')
  return {
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
