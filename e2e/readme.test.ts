/**
 * Proves that the README does what it says: in a fresh clone its set-up line brings up a server, and
 * its ```bash blocks, run in order in one shell, succeed and print what they promise. A promise is a
 * comment of one word behind a command (what it prints) and the text of a closing `&& echo`. The
 * line that runs the tests has to be there, but is not run: CI does that.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { environmentOf, eventually, ROOT } from './processes.ts'

const START = 'npm ci && npm start'
const TEST = 'npm ci && npm test'
const PORT = 8420
const READY_MS = 300_000
const STOP_MS = 15_000
const BLOCKS_MS = 120_000
/** Stands before the output of each block; comes up nowhere else. */
const MARK = '\u001e'

test('the README does what it says', async (t) => {
  const clone = join(await testFolder(t), 'holdfast')
  execFileSync('git', ['clone', '--quiet', ROOT, clone], { stdio: ['ignore', 'ignore', 'inherit'] })
  const readme = readFileSync(join(clone, 'README.md'), 'utf8')
  const fences = fencesOf(readme)
  for (const line of [START, TEST]) {
    assert.ok(
      fences.some(({ text }) => text.trim() === line),
      `a block of its own: ${line}`,
    )
  }
  const blocks = fences.filter(({ language }) => language === 'bash' || language === 'sh')
  assert.ok(blocks.length > 0, 'there are blocks to run')
  assert.ok(await isFree(PORT), `port ${PORT}, which the README uses, is taken`)

  await startAsTold(t, clone)
  const outputs = await runBlocks(
    clone,
    blocks.map(({ text }) => text),
  )
  for (const [index, { text }] of blocks.entries()) {
    assertPromises(text, outputs[index] ?? '')
  }
})

interface Fence {
  readonly language: string
  readonly text: string
}

function fencesOf(markdown: string): Fence[] {
  const fences = markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)
  return [...fences].map(([, language = '', text = '']) => ({ language, text }))
}

/** Runs the line of the README, waits until the server is ready, and stops it when `t` ends. */
async function startAsTold(t: TestContext, clone: string): Promise<void> {
  // A group of its own: npm and its shells do not all pass a signal on.
  const child = spawn('bash', ['-c', START], {
    cwd: clone,
    env: userEnvironment(),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const closed = once(child, 'close')
  t.after(async () => {
    if (child.exitCode === null) process.kill(-(child.pid as number), 'SIGTERM')
    await closed
    await eventually(
      'the server has stopped',
      STOP_MS,
      async () => (await isFree(PORT)) || undefined,
    )
  })
  await eventually('the server is ready', READY_MS, async () => {
    if (child.exitCode !== null) throw new Error(`${START} ended: ${said}`)
    const response = await fetch(`http://127.0.0.1:${PORT}/health/ready`).catch(() => undefined)
    return response?.ok || undefined
  })
}

/** What each block printed. */
async function runBlocks(clone: string, blocks: readonly string[]): Promise<string[]> {
  const script = blocks.map((block) => `printf '${MARK}'\n${block}`).join('\n')
  const shell = spawn('bash', ['-c', `set -euo pipefail\n${script}`], {
    cwd: clone,
    env: userEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const timer = setTimeout(() => shell.kill(), BLOCKS_MS)
  let output = ''
  let errors = ''
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  shell.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const [code] = (await once(shell, 'close')) as [number | null]
  clearTimeout(timer)
  const outputs = output.split(MARK).slice(1)
  const failed = blocks[outputs.length - 1]
  assert.equal(code, 0, `this block failed:\n${failed}\nwith: ${outputs.at(-1)}\n${errors}`)
  return outputs
}

/** The environment of somebody at a prompt: without what npm and the test runner add. */
function userEnvironment(): NodeJS.ProcessEnv {
  const added =
    /^(npm_(package|lifecycle|command|execpath|node)|npm_config_(local_)?prefix|INIT_CWD|NODE_)/
  const environment = Object.entries(environmentOf({})).filter(([name]) => !added.test(name))
  const path = (process.env.PATH ?? '').split(delimiter)
  return {
    ...Object.fromEntries(environment),
    PATH: path.filter((folder) => !folder.includes('node_modules')).join(delimiter),
  }
}

/** In the output there is, in this order, all that a block says it prints. */
function assertPromises(block: string, output: string): void {
  let at = 0
  for (const promise of promisesOf(block)) {
    const found = output.indexOf(promise, at)
    assert.ok(found >= 0, `${JSON.stringify(promise)} is not in the output of\n${block}\n${output}`)
    at = found + promise.length
  }
}

function promisesOf(block: string): string[] {
  return block.split('\n').flatMap((line) => {
    const [, comment] = /\S\s+# (\S+)$/.exec(line) ?? []
    const [, bare, quoted] = /&& echo (?:(\w+)|'([^']+)')\s*(?:#.*)?$/.exec(line) ?? []
    return [bare ?? quoted, comment].filter((promise) => promise !== undefined)
  })
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const free = new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.once('listening', () => resolve(true))
  })
  server.listen(port, '127.0.0.1')
  const answer = await free
  if (answer) await new Promise((resolve) => server.close(resolve))
  return answer
}
