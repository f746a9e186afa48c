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
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { type Config, loadConfig } from '../packages/server/src/config.ts'
import { accountFileColumn } from '../packages/server/src/core/account-files/files.ts'
import { createNameSearch } from '../packages/server/src/core/account-files/name-search.ts'
import type { Writer } from '../packages/server/src/core/database.ts'
import { type Keyring, openKeyring } from '../packages/server/src/core/keys/keyring.ts'
import { sealedJson } from '../packages/server/src/core/keys/sealed-column.ts'
import { openForServer } from '../packages/server/src/open.ts'
import { openDiskStore } from '../packages/server/src/store/blobs/disk.ts'
import { kyselyOver } from '../packages/server/src/store/database/node-sqlite.ts'
import { sqliteNameIndex } from '../packages/server/src/store/database/sqlite-name-index.ts'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { readRootKey } from '../packages/server/src/store/root-key.ts'

const FEW = 10_000
const MANY = option('files') ?? 1_000_000
const ROWS_PER_TRANSACTION = 20_000
const REACH = 1.5

/** Rounds that are run and forgotten, until code is compiled and pages are in memory. */
const WARM_UP = 10
const ROUNDS = 60
/** Of what is linear: each takes seconds with a million files. */
const SLOW_ROUNDS = 3
const START_DEADLINE_MS = 60_000
/** A start is over when the first answer came; asked so often. */
const POLL_MS = 5

/** Every hundredth part of these is in the names of one account: 100 of them, however many files. */
const HITS = 100

/** What file `index` is called, but for what is planted for searches. */
function nameOf(index: number): string {
  const kind = ['invoice', 'contract', 'report'][index % 3]
  const day = String((index % 28) + 1).padStart(2, '0')
  const month = String((Math.floor(index / 28) % 12) + 1).padStart(2, '0')
  const client = `${syllables(index * 7919)} ${syllables(index * 104_729 + 17)}`
  const number = String((index * 2741) % 1_000_000).padStart(6, '0')
  return `${kind} 2026-${month}-${day} ${client} ${number}.pdf`
}

const CONSONANTS = 'bdfgklmnprstv'
const VOWELS = 'aeiou'

/** A word of three syllables, the same for the same number. */
function syllables(seed: number): string {
  let word = ''
  for (let left = Math.abs(seed) + 1, count = 0; count < 3; count += 1) {
    word += `${CONSONANTS[left % 13]}${VOWELS[Math.floor(left / 13) % 5]}`
    left = Math.floor(left / 65) + 31
  }
  return word
}

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

interface Account {
  readonly files: number
  readonly ownerId: string
  readonly token: string
}

/** A store with two people in it. */
async function prepare(config: Config): Promise<[Account, Account]> {
  const opened = await openForServer(config, Date.now, (error) => {
    throw error
  })
  async function account(name: string, files: number): Promise<Account> {
    const email = `${name}@example.com`
    const { id } = await opened.core.identities.createPerson({ email, name })
    const { token } = await opened.core.tokens.create(id, 'bench')
    return { files, ownerId: id, token }
  }
  const accounts: [Account, Account] = [await account('few', FEW), await account('many', MANY)]
  await opened.close()
  return accounts
}

async function fill(config: Config, accounts: readonly Account[]): Promise<void> {
  const root = await readRootKey(config.rootKeyFile, config.data)
  if (!root) throw new Error('the root key is gone')
  const keyring = await openKeyring(await openDiskStore(config.data), root)
  const database = new DatabaseSync(folderPaths(config.data).database)
  database.exec('pragma synchronous = off; pragma cache_size = -400000')
  for (const account of accounts) await fillAccount(database, keyring, account)
  // As the server's job does it every hour.
  const writer = await writerOver(database)
  for (let first = true; await sqliteNameIndex.tidy(writer, first); first = false);
  database.exec('pragma wal_checkpoint(truncate)')
  database.close()
}

/** Without a transaction of its own: those here are larger. */
async function writerOver(database: DatabaseSync): Promise<Writer> {
  return (await kyselyOver(database)) as unknown as Writer
}

/** Inserts as `accountFiles.create` does, and the names into the index. */
async function fillAccount(
  database: DatabaseSync,
  keyring: Keyring,
  { ownerId, files }: Account,
): Promise<void> {
  const column = accountFileColumn(keyring)
  const search = createNameSearch(keyring, sqliteNameIndex)
  const writer = await writerOver(database)
  const insert = statements(database)
  const began = Date.now() - files * 1000
  const categoryId = randomUUID()
  const category = sealedJson(keyring, 'category').seal(categoryId, ownerId, { name: 'Uploads' })
  insert.category.run(categoryId, ownerId, category, began)

  let bytes = 0
  let trashed = 0
  for (let index = 0; index < files; index += 1) {
    if (index % ROWS_PER_TRANSACTION === 0) database.exec('begin immediate')
    const fullName = plantedName(index, files)
    const id = randomUUID()
    const size = sizeOf(index)
    const createdAt = began + index * 1000
    // As many in the trash as are planted: they are few in any account, since they go after a month.
    const isTrashed = index % Math.floor(files / HITS) === 3
    const blobId = isTrashed ? null : randomUUID()
    if (blobId) insert.blob.run(blobId, size, createdAt)
    const text = { fullName, givenName: fullName, type: 'application/pdf' }
    const sealed = column.seal(id, ownerId, text)
    const trashedAt = isTrashed ? Date.now() : null
    const { lastInsertRowid } = insert.file.run(
      ...[id, ownerId, categoryId, blobId, size, size + 200 + 16 * Math.ceil(size / 65_536)],
      ...[sealed, createdAt, trashedAt],
    )
    await search.put(writer, ownerId, Number(lastInsertRowid), fullName)
    if (isTrashed) trashed += 1
    else bytes += size
    if (index % ROWS_PER_TRANSACTION === ROWS_PER_TRANSACTION - 1 || index === files - 1) {
      database.exec('commit')
    }
  }
  insert.usage.run(ownerId, files, trashed, bytes)
}

function statements(database: DatabaseSync): Record<string, StatementSync> & {
  category: StatementSync
  blob: StatementSync
  file: StatementSync
  usage: StatementSync
} {
  return {
    category: database.prepare('insert into category values (?, ?, ?, ?)'),
    blob: database.prepare(
      `insert into blob (id, state, size, created_at) values (?, 'stored', ?, ?)`,
    ),
    file: database.prepare(
      `insert into account_file (id, owner_id, category_id, blob_id, disk, size, encrypted_size,
        sealed, created_at, trashed_at) values (?, ?, ?, ?, 'local', ?, ?, ?, ?, ?)`,
    ),
    usage: database.prepare(
      'insert into account_usage (owner_id, files, trashed, bytes) values (?, ?, ?, ?)',
    ),
  }
}

/** From a few bytes to some MiB, in no order. */
function sizeOf(index: number): number {
  return (index * 2_654_435_761) % 4_000_037
}

interface Running {
  readonly process: ChildProcess
  readonly url: string
  /** From the start of the process to its first answer. */
  readonly startMs: number
}

async function start(folder: string, port: number): Promise<Running> {
  const main = new URL('../packages/server/src/main.ts', import.meta.url)
  const began = performance.now()
  const server = spawn(process.execPath, [main.pathname], {
    env: {
      HOLDFAST_DATA: join(folder, 'data'),
      HOLDFAST_PORT: String(port),
      HOLDFAST_API_RATE_LIMIT: '0',
      HOLDFAST_LOG_LEVEL: 'silent',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  for (;;) {
    const ready = await fetch(`${url}/health/ready`).catch(() => undefined)
    if (ready?.ok) return { process: server, url, startMs: performance.now() - began }
    if (server.exitCode !== null || performance.now() - began > START_DEADLINE_MS) {
      throw new Error('the server does not start')
    }
    await delay(POLL_MS)
  }
}

async function stop({ process: server }: Running): Promise<void> {
  const exited = once(server, 'exit')
  server.kill('SIGTERM')
  await exited
}

/** Milliseconds until the last byte of a page of 100 is here. */
async function ask(url: string, { token }: Account, query: string): Promise<number> {
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

async function measure(url: string, accounts: readonly [Account, Account]): Promise<Result[]> {
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
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  try {
    const before = machine()
    const config = loadConfig({ HOLDFAST_DATA: join(folder, 'data') })
    const port = 20_000 + (process.pid % 20_000)
    const accounts = await prepare(config)
    const emptyStart = await startOnce(folder, port)
    const began = performance.now()
    await fill(config, accounts)
    const fillSeconds = (performance.now() - began) / 1000

    const server = await start(folder, port)
    let results: Result[]
    try {
      results = await measure(server.url, accounts)
    } finally {
      await stop(server)
    }
    const starts = { emptyMs: emptyStart, fullMs: server.startMs }
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
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function startOnce(folder: string, port: number): Promise<number> {
  const server = await start(folder, port)
  await stop(server)
  return server.startMs
}

await main()
