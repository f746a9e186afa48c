import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../packages/server/test/helpers/cleanup.ts'
import type { SignedIn } from '../packages/server/test/helpers/server.ts'

/** The root of the checkout. */
export const ROOT = fileURLToPath(new URL('../', import.meta.url))
/** What `npm start` hands to Node: flags, and the program, in the checkout. */
export const SERVER = startWords()
export const COMMAND = join(ROOT, 'packages/server/src/cli/main.ts')
/** Halves the start of a process; what is tested does not depend on it. */
const COMPILE_CACHE = join(tmpdir(), 'holdfast-test-compile-cache')
const START_MS = 20_000
const STEP_MS = 10

/** Settings of Holdfast; everything else comes from the environment of the tests. */
export type Settings = Record<string, string>

/** A process that has come to its end. */
export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The environment of a child: that of the tests without settings of Holdfast, and `settings`. */
export function environmentOf(settings: Settings): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_'))
  return { NODE_COMPILE_CACHE: COMPILE_CACHE, ...Object.fromEntries(inherited), ...settings }
}

/** Runs a program to its end, with `input` on its standard input. */
export async function run(
  file: string,
  words: readonly string[],
  settings: Settings = {},
  input = '',
): Promise<Ended> {
  const child = spawn(file, words, { cwd: ROOT, env: environmentOf(settings) })
  // One that does not read its input may have ended before.
  child.stdin.on('error', () => undefined).end(input)
  return endOf(child)
}

/** Runs `holdfast …` to its end. */
export function holdfast(settings: Settings, ...words: string[]): Promise<Ended> {
  return run(process.execPath, [COMMAND, ...words], settings)
}

/** The same with something on its standard input. */
export function holdfastReading(
  settings: Settings,
  input: string,
  ...words: string[]
): Promise<Ended> {
  return run(process.execPath, [COMMAND, ...words], settings, input)
}

/** Runs `holdfast … --json`, which has to succeed and to print one object and nothing else. */
export async function holdfastJson<T>(settings: Settings, ...words: string[]): Promise<T> {
  const { code, stdout, stderr } = await holdfast(settings, ...words, '--json')
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, words.join(' '))
  return oneObject<T>(stdout)
}

/** Signs somebody in on the command line (`session create`). */
export async function createSession(settings: Settings, email: string): Promise<SignedIn> {
  const made = await holdfastJson<{
    identity_id: string
    accesstoken: string
    tokentype: string
    csrf_token: string
  }>(settings, 'session', 'create', '--email', email)
  const { identity_id: id, accesstoken: accessToken, csrf_token: csrfToken } = made
  const cookie = `accesstoken=${accessToken}; tokentype=${made.tokentype}`
  return { id, email, accessToken, csrfToken, headers: { cookie, 'x-csrf-token': csrfToken } }
}

/** The JSON object that is all of a command's output. */
export function oneObject<T>(stdout: string): T {
  assert.match(stdout, /^\{.*\}\n$/, 'one line that is an object')
  return JSON.parse(stdout)
}

/** A server that runs as a process of its own. */
export interface ServerProcess {
  readonly child: ChildProcess
  readonly pid: number
  readonly settings: Settings
  /** Where it listens, as an http address. */
  readonly address: string
  /** What it said so far. */
  readonly stdout: () => string
  /** What it logged so far. */
  readonly stderr: () => string
  readonly ended: Promise<Ended>
  /** The first line of the log whose message is `message`, once it is there. */
  logged(message: string): Promise<Record<string, unknown>>
  /** Asks it to stop, and waits. */
  stop(): Promise<Ended>
  /** Kills it without a word (SIGKILL), and waits. */
  kill(): Promise<Ended>
}

/** How a server is started, where it differs from `npm start`. */
export interface Launch {
  /** More flags for Node. */
  readonly flags?: readonly string[]
  /** Whether messages go to and fro between it and its parent. */
  readonly channel?: boolean
  /** The program that starts it in its turn. */
  readonly under?: readonly string[]
}

/** Starts a server on a free port, and waits until it is ready. It is killed when `t` ends. */
export async function startServerProcess(
  t: Scope,
  given: Settings,
  launch: Launch = {},
): Promise<ServerProcess> {
  const settings = { HOLDFAST_PORT: '0', ...given }
  const child = spawnServer(settings, launch)
  t.after(() => child.kill('SIGKILL'))
  const out = collect(child.stdout)
  const log = collect(child.stderr)
  const ended = endOf(child, out, log)

  const address = await eventually('the server listens', START_MS, () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`ended: ${log()}`)
    return /^Holdfast listens on (\S+)$/m.exec(out())?.[1]
  })
  const ready = await fetch(`${address}/health/ready`)
  assert.equal(ready.status, 200)
  await ready.arrayBuffer()

  return {
    child,
    pid: child.pid as number,
    settings,
    address,
    stdout: out,
    stderr: log,
    ended,
    logged: (message) =>
      eventually(`the log says ${message}`, START_MS, () => logLines(log()).find(has(message))),
    stop() {
      child.kill('SIGTERM')
      return ended
    },
    kill() {
      child.kill('SIGKILL')
      return ended
    },
  }
}

/** Runs a server that is expected to refuse its start. */
export async function refusedStart(settings: Settings): Promise<Ended> {
  const child = spawnServer({ HOLDFAST_PORT: '0', ...settings })
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
  const ended = await endOf(child)
  clearTimeout(timer)
  return ended
}

export function spawnServer(
  settings: Settings,
  { flags = [], channel = false, under = [] }: Launch = {},
): ChildProcess & {
  stdout: NodeJS.ReadableStream
  stderr: NodeJS.ReadableStream
} {
  const [file, ...words] = [...under, process.execPath, ...flags, ...SERVER]
  return spawn(file as string, words, {
    cwd: ROOT,
    env: environmentOf(settings),
    stdio: channel ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
  }) as ReturnType<typeof spawnServer>
}

function startWords(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const [cache, node, ...words] = scripts.start.split(' ')
  if (!cache.startsWith('NODE_COMPILE_CACHE=') || node !== 'node')
    throw new Error(`npm start runs ${scripts.start}`)
  return words
}

/** What the probe answers as soon as it answers something. */
export async function eventually<T>(
  what: string,
  withinMs: number,
  probe: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const found = await probe()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`waited ${withinMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, STEP_MS))
  }
}

async function endOf(
  child: ChildProcess,
  out = collect(child.stdout),
  log = collect(child.stderr),
): Promise<Ended> {
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout: out(), stderr: log() }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  return () => text
}

function logLines(log: string): Record<string, unknown>[] {
  const whole = log.slice(0, log.lastIndexOf('\n') + 1)
  return whole
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}

function has(message: string): (line: Record<string, unknown>) => boolean {
  return (line) => line.msg === message
}
