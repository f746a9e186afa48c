/**
 * What lists and searches of account files cost in an account with a million files, against one with
 * ten thousand.
 *
 * Both accounts lie in one store, behind one server, and are asked in turn, round after round, so that
 * whatever else the machine does hits them alike; only the ratios within one run mean something. The
 * rows are written straight into the database, sealed and indexed as an upload does it; they name blobs
 * that have no bytes, which lists never look at. `--json` prints the figures for programs;
 * `--files=100000` takes another number for a million.
 */
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { type ServerProcess, startServerProcess } from '../e2e/processes.ts'
import { type Config, loadConfig } from '../packages/server/src/config.ts'
import { type Scope, testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { nameOf } from './file-names.ts'
import { type Account, createAccounts, openFiller } from './filler.ts'
import { inScope } from './scope.ts'

const FEW = 10_000
const MANY = option('files') ?? 1_000_000
const REACH = 1.5

/** Rounds that are run and forgotten, until code is compiled and pages are in memory. */
const WARM_UP = 10
const ROUNDS = 60
/** Of what is linear: each takes seconds with a million files. */
const SLOW_ROUNDS = 3

/** Every hundredth part of these is in the names of one account: 100 of them, however many files. */
const HITS = 100

/** What file `index` is called: what is planted for searches stands before its name. */
function plantedName(index: number, count: number): string {
  const name = nameOf(index)
  if (index === Math.floor(count / 2)) return `zebrafish ${name}`
  if (index % Math.floor(count / HITS) === 7) return `quokka ${name}`
  return index % 50 === 11 ? `wombat ${name}` : name
}

interface Case {
  readonly name: string
  readonly query: string
  /** Documented as opening every name of the account. */
  readonly linear?: boolean
}

const CASES: readonly Case[] = [
  { name: 'newest first', query: '' },
  { name: 'created_at', query: 'sort=created_at' },
  { name: '-created_at', query: 'sort=-created_at' },
  { name: 'size', query: 'sort=size' },
  { name: '-size', query: 'sort=-size' },
  { name: 'encrypted_size', query: 'sort=encrypted_size' },
  { name: '-encrypted_size', query: 'sort=-encrypted_size' },
  { name: 'newest first, page 50', query: 'page=50' },
  { name: '-size, page 50', query: 'sort=-size&page=50' },
  { name: 'without the trash', query: 'trashed=without' },
  { name: 'only the trash', query: 'trashed=only' },
  { name: 'only the trash, -size', query: 'trashed=only&sort=-size' },
  { name: 'keyword, 1 hit', query: 'keyword=zebrafish' },
  { name: 'keyword, 100 hits', query: 'keyword=quokka' },
  { name: 'keyword, every third file', query: 'keyword=invoice' },
  { name: 'keyword, every file', query: 'keyword=.pdf' },
  { name: 'keyword, no hit', query: 'keyword=xylophone' },
  { name: 'keyword, no hit, common parts', query: 'keyword=invoicontractoice' },
  { name: 'keyword, 6 digits', query: 'keyword=004242' },
  { name: 'keyword, a whole name', query: `keyword=${encodeURIComponent(nameOf(4242))}` },
  { name: 'keyword, 100 hits, -size', query: 'keyword=quokka&sort=-size' },
  { name: 'keyword, every 50th, -size', query: 'keyword=wombat&sort=-size' },
  { name: 'keyword, every third, -size', query: 'keyword=invoice&sort=-size' },
  { name: 'filename_original', query: 'sort=filename_original', linear: true },
  { name: 'keyword of 2 letters', query: 'keyword=qx', linear: true },
  { name: 'keyword of 1 letter', query: 'keyword=z', linear: true },
]

interface Asked extends Account {
  readonly files: number
}

/** A store with two people in it. */
async function prepare(config: Config): Promise<[Asked, Asked]> {
  const [few, many] = (await createAccounts(config, ['few', 'many'])) as [Account, Account]
  return [
    { ...few, files: FEW },
    { ...many, files: MANY },
  ]
}

async function fill(config: Config, accounts: readonly Asked[]): Promise<void> {
  const filler = await openFiller(config)
  for (const { ownerId, files } of accounts) {
    const began = Date.now() - files * 1000
    await filler.fill(ownerId, 0, files, (index) => ({
      name: plantedName(index, files),
      size: sizeOf(index),
      createdAt: began + index * 1000,
      // As many in the trash as are planted: they are few in any account, since they go after a month.
      isTrashed: index % Math.floor(files / HITS) === 3,
    }))
  }
  await filler.close()
}

/** From a few bytes to some MiB, in no order. */
function sizeOf(index: number): number {
  return (index * 2_654_435_761) % 4_000_037
}

/** A server as `npm start` starts it, and how long it took until it was ready. */
async function start(scope: Scope, folder: string): Promise<{ server: ServerProcess; ms: number }> {
  const began = performance.now()
  const server = await startServerProcess(scope, {
    HOLDFAST_DATA: join(folder, 'data'),
    HOLDFAST_API_RATE_LIMIT: '0',
    HOLDFAST_LOG_LEVEL: 'silent',
  })
  return { server, ms: performance.now() - began }
}

/** Milliseconds until the last byte of a page of 100 is here. */
async function ask(url: string, { token }: Asked, query: string): Promise<number> {
  const began = performance.now()
  const response = await fetch(`${url}/api/files?${['per_page=100', query].join('&')}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const body = await response.arrayBuffer()
  const milliseconds = performance.now() - began
  if (response.status !== 200) throw new Error(`${query}: ${Buffer.from(body)}`)
  return milliseconds
}

interface Times {
  readonly p50: number
  readonly p95: number
}

interface Result {
  readonly name: string
  readonly few: Times
  readonly many: Times
  /** Of the medians. */
  readonly ratio: number
  readonly linear: boolean
}

async function measure(url: string, accounts: readonly [Asked, Asked]): Promise<Result[]> {
  const times = new Map(CASES.map((one) => [one, [[], []] as [number[], number[]]]))
  async function round(cases: readonly Case[], counts: boolean): Promise<void> {
    for (const one of cases) {
      for (const [index, account] of accounts.entries()) {
        const milliseconds = await ask(url, account, one.query)
        if (counts) times.get(one)?.[index]?.push(milliseconds)
      }
    }
  }
  const quick = CASES.filter(({ linear }) => !linear)
  const slow = CASES.filter(({ linear }) => linear)
  for (let count = -WARM_UP; count < ROUNDS; count += 1) await round(quick, count >= 0)
  for (let count = 0; count < SLOW_ROUNDS; count += 1) await round(slow, true)
  return CASES.map((one) => {
    const [few, many] = (times.get(one) ?? [[], []]).map(summary) as [Times, Times]
    return { name: one.name, few, many, ratio: many.p50 / few.p50, linear: one.linear ?? false }
  })
}

function summary(values: readonly number[]): Times {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN
  return { p50: at(0.5), p95: at(0.95) }
}

function machine() {
  return {
    node: process.version,
    cpus: availableParallelism(),
    load: loadavg().map((value) => Number(value.toFixed(2))),
  }
}

function option(name: string): number | undefined {
  const prefix = `--${name}=`
  const given = process.argv.find((argument) => argument.startsWith(prefix))
  return given === undefined ? undefined : Number(given.slice(prefix.length))
}

function print(results: readonly Result[]): void {
  const row = (name: string, cells: readonly string[]) =>
    `${name.padEnd(30)}${cells.map((text) => text.padStart(14)).join('')}`
  const [few, many] = [FEW, MANY].map((count) => count.toLocaleString('en'))
  console.log(`\n${row('a page of 100, ms', [`${few} p50`, 'p95', `${many} p50`, 'p95', 'ratio'])}`)
  for (const { name, few, many, ratio, linear } of results) {
    const figures = [few.p50, few.p95, many.p50, many.p95, ratio].map((value) => value.toFixed(2))
    const verdict = linear ? 'linear' : ratio <= REACH ? 'reached' : 'NOT REACHED'
    console.log(`${row(name, figures)}  ${verdict}`)
  }
}

async function main(): Promise<void> {
  await inScope(async (scope) => {
    const folder = await testFolder(scope)
    const before = machine()
    const config = loadConfig({ HOLDFAST_DATA: join(folder, 'data') })
    const accounts = await prepare(config)
    const empty = await start(scope, folder)
    await empty.server.stop()
    const began = performance.now()
    await fill(config, accounts)
    const fillSeconds = (performance.now() - began) / 1000

    const full = await start(scope, folder)
    const results = await measure(full.server.address, accounts)
    await full.server.stop()
    const starts = { emptyMs: empty.ms, fullMs: full.ms }
    const figures = { ...before, loadAfter: machine().load, fillSeconds, starts, results }
    if (process.argv.includes('--json')) {
      console.log(JSON.stringify(figures))
      return
    }
    console.log(`Node ${before.node}, ${before.cpus} CPUs`)
    console.log(`load ${before.load.join(' ')} before, ${figures.loadAfter.join(' ')} after`)
    console.log(`${FEW + MANY} files written in ${fillSeconds.toFixed(0)} s`)
    console.log(
      `start until ready: ${starts.emptyMs.toFixed(0)} ms empty, ${starts.fullMs.toFixed(0)} ms full`,
    )
    print(results)
  })
}

await main()
