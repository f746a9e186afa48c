import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { findAbilities, rendererCommand } from '../../src/previews/isolation.ts'
import { createRenderer, RenderError, type Renderer } from '../../src/previews/renderer.ts'
import { atEnd } from '../helpers/cleanup.ts'
import { jpeg } from '../helpers/pictures.ts'

const REQUEST = { kind: 'image', extension: 'jpg' } as const

function renderer(t: TestContext, command: readonly string[], timeoutMs = 20_000): Renderer {
  const made = createRenderer({ command, timeoutMs, keepsWarm: false })
  atEnd(t, () => made.stop())
  return made
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536)
    yield Uint8Array.from(bytes.subarray(at, at + 65_536))
}

/** Why a file is not shown. */
async function refused(made: Renderer, bytes: Uint8Array = Buffer.from('x')): Promise<string> {
  const error = await made.render({ ...REQUEST, size: bytes.length }, pieces(bytes)).then(
    () => assert.fail('it was shown'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof RenderError, String(error))
  return error.reason
}

const FRAME = `const frame = (value) => {
  const json = Buffer.from(JSON.stringify(value)); const head = Buffer.alloc(4)
  head.writeUInt32BE(json.length); return Buffer.concat([head, json]) }
  const say = (...all) => require('fs').writeSync(3, Buffer.concat(all))
  const page = { type: 'image/webp', width: 9, height: 9, size: 12 }
  const webp = Buffer.from('RIFF1234WEBP'); setInterval(() => {}, 1000);`

/** What a process may do that a file has taken over, and what is then said of the file. */
const TAKEN_OVER: Record<string, [program: string, reason: string]> = {
  'ends at once': ['process.exit(0)', 'ended'],
  'ends within a page': ['say(frame({ page }), webp.subarray(0, 4)); process.exit(0)', 'ended'],
  'says nothing': ['', 'out_of_time'],
  'says too much at once': ['say(Buffer.alloc(65536, 0xff))', 'bad_answer'],
  'says no JSON': ['say(Buffer.from([0, 0, 0, 1, 65]))', 'bad_answer'],
  'has no page': ["say(frame({ end: 'done' }))", 'done'],
  'has pages without end': ['for (;;) say(frame({ page }), webp)', 'bad_answer'],
  'has a page of another type': [
    "say(frame({ page: { ...page, type: 'text/html' } }), webp)",
    'bad_answer',
  ],
  'has a page that is too wide': [
    'say(frame({ page: { ...page, width: 601 } }), webp)',
    'bad_answer',
  ],
  'has a page that is too large': ['say(frame({ page: { ...page, size: 1e9 } }))', 'bad_answer'],
  'has a page that is no picture': [
    "say(frame({ page }), Buffer.from('<script>1</s'))",
    'bad_answer',
  ],
}

for (const [what, [program, reason]] of Object.entries(TAKEN_OVER)) {
  test(`a process that ${what} shows nothing`, async (t) => {
    const command = [process.execPath, '-e', FRAME + program]
    assert.equal(
      await refused(renderer(t, command, reason === 'out_of_time' ? 300 : 20_000)),
      reason,
    )
  })
}

test('a program that is not there is no preview', async (t) => {
  assert.equal(await refused(renderer(t, ['/nonexistent/program'])), 'ended')
})

test('content that cannot be read ends the job as what it is', async (t) => {
  const made = renderer(t, [process.execPath, '-e', 'process.stdin.resume()'])
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('x')
    throw new Error('damaged')
  }
  await assert.rejects(made.render({ ...REQUEST, size: 2 }, broken()), { message: 'damaged' })
})

test('a server that runs with the least priority shows pictures too', async (t) => {
  const { isolation } = await findAbilities(1)
  const made = renderer(t, ['nice', '-n', '19', ...(await rendererCommand(isolation, 'quick'))])
  const bytes = await jpeg(20, 10)
  const [page] = await made.render({ ...REQUEST, size: bytes.length }, pieces(bytes))
  assert.deepEqual([page?.type, page?.width, page?.height], ['image/webp', 20, 10])
})

test('a renderer is shown nothing of the server but its input', async (t) => {
  process.env.HOLDFAST_METRICS_TOKEN = 'opensesame'
  atEnd(t, () => delete process.env.HOLDFAST_METRICS_TOKEN)
  const { isolation } = await findAbilities(1)
  const made = createRenderer({
    command: await rendererCommand(isolation, 'quick'),
    ...{ timeoutMs: 20_000, keepsWarm: true },
  })
  atEnd(t, () => made.stop())
  const bytes = await jpeg(20, 10)
  const [page] = await made.render({ ...REQUEST, size: bytes.length }, pieces(bytes))
  assert.deepEqual([page?.type, page?.width, page?.height], ['image/webp', 20, 10])

  const processes = descendants(process.pid)
  assert.ok(processes.length > 0)
  for (const pid of processes) {
    const known = ['', 'HOME', 'LANG', 'PATH', 'PWD', 'OLDPWD']
    const names = proc(pid, 'environ')
      .split('\0')
      .map((entry) => entry.split('=')[0] ?? '')
    assert.deepEqual(
      names.filter((name) => !known.includes(name)),
      [],
    )
  }
  await t.test('no network and no files, where the kernel allows it', (t) => {
    if (isolation !== 'full') {
      if (process.env.CI === 'true') throw new Error('namespaces are not allowed here')
      return t.skip('namespaces are not allowed here')
    }
    // The one in the innermost namespace.
    const pid = processes.at(-1) ?? 0
    const networks = proc(pid, 'net/dev').split('\n').slice(2).filter(Boolean)
    assert.deepEqual(
      networks.map((line) => line.trim().split(':')[0]),
      ['lo'],
    )
    const writable = proc(pid, 'mountinfo')
      .split('\n')
      .filter((line) => line !== '' && !line.split(' ')[5]?.split(',').includes('ro'))
      .map((line) => [line.split(' ')[4], line.split(' - ')[1]?.split(' ')[0]])
      .filter(([path]) => !path?.startsWith('/dev/'))
    assert.deepEqual(writable, [['/', 'tmpfs']])
    const seen = readdirSync(`/proc/${pid}/root/`)
    for (const folder of ['home', 'root', 'run', 'srv', 'sys']) assert.ok(!seen.includes(folder))
    assert.match(proc(pid, 'status'), /^CapEff:\t0+$/m)
    assert.match(proc(pid, 'status'), /^NoNewPrivs:\t1$/m)
    assert.match(proc(pid, 'limits'), /^Max data size +1073741824 +1073741824/m)
    assert.match(proc(pid, 'limits'), /^Max file size +0 +0/m)
    assert.match(proc(pid, 'limits'), /^Max core file size +0 +0/m)
    return undefined
  })

  await made.stop()
})

function proc(pid: number, name: string): string {
  return readFileSync(`/proc/${pid}/${name}`, 'utf8')
}

/** The processes below one, the deepest last. */
function descendants(parent: number): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent)
  return children.flatMap((pid) => [pid, ...descendants(pid)])
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\t(\d+)$/m.exec(proc(pid, 'status'))?.[1])
  } catch {
    return undefined
  }
}
