import { spawn } from 'node:child_process'
import { RenderRefusal } from './refusal.ts'

/** What a program may print of a result. */
const MOST_OUTPUT = 8 * 1024 * 1024

/**
 * Runs a program of the operating system to its end. Its time is up when the renderer's is.
 *
 * @returns what it printed
 * @throws RenderRefusal when it fails or prints too much
 */
export async function runTool(program: string, words: readonly string[]): Promise<Buffer> {
  const child = spawn(program, words, { cwd: '/tmp', stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve)
  })
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of child.stdout as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > MOST_OUTPUT) {
      child.kill('SIGKILL')
      throw new RenderRefusal('too_large_inside')
    }
    pieces.push(piece)
  }
  if ((await ended) !== 0) throw new RenderRefusal('damaged')
  return Buffer.concat(pieces)
}
