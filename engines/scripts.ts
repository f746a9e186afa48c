import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the programs are that start and end engines. */
export const SCRIPTS = fileURLToPath(new URL('../scripts/engines/', import.meta.url))

/**
 * Runs one of them to its end, while other work goes on.
 *
 * @throws Error when it ends with anything but 0; what it says is on standard error
 */
export async function runScript(
  name: string,
  words: readonly string[],
  settings: Record<string, string> = {},
): Promise<void> {
  const child = spawn(join(SCRIPTS, name), words, {
    env: { ...process.env, ...settings },
    // Not pipes, which the engine would keep open.
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${name} ${words.join(' ')} ended with ${code}`)
}
