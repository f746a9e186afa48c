/**
 * SQLite and PostgreSQL beside each other: requests a second of a mixed load from 16 clients, in turn,
 * and how many transactions PostgreSQL had to run again. `HOLDFAST_BENCH_DATABASE_URL` names a server
 * with a database to be made and dropped, whose fsync is on.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { loadConfig } from '../packages/server/src/config.ts'
import { type Server, startServer } from '../packages/server/src/server.ts'
import { query } from '../packages/server/test/helpers/postgres.ts'

const CLIENTS = 16
const SECONDS = 5
const ROUNDS = 3
const BYTES = 10_000
/** That PostgreSQL has before. */
const FILES = Number(process.env.FILES ?? 50_000)
/** Of ten requests: uploads, lists, looks at one file; the rest deletes. */
const UPLOADS = 4
const LISTS = 2
const LOOKS = 3

const SERVER = process.env.HOLDFAST_BENCH_DATABASE_URL

interface Measured {
  readonly perSecond: number
  /** Transactions that were run again, for each request that writes. */
  readonly again: number
}

/** @param accounts among which the clients are spread: fewer of them change the same rows more often */
async function measure(url: string | undefined, accounts: number): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  const settings = { HOLDFAST_DATA: join(folder, 'data'), HOLDFAST_PORT: '0' }
  const config = loadConfig({
    ...settings,
    HOLDFAST_API_RATE_LIMIT: '0',
    HOLDFAST_PREVIEW_MAX_MB: '0',
    ...(url && { HOLDFAST_DATABASE_URL: url }),
  })
  const server = await startServer(config, pino({ level: 'silent' }), (error) => {
    throw error
  })
  try {
    const tokens = await Promise.all(
      Array.from({ length: accounts + 1 }, async (_, index) => {
        const email = `person${index}@example.com`
        const { id } = await server.core.identities.createPerson({ email, name: 'Person' })
        return (await server.core.tokens.create(id, 'bench')).token
      }),
    )
    if (url) await fill(server, tokens[accounts] ?? '', url)
    const before = await rollbacks(url)
    const done = await Promise.all(
      Array.from({ length: CLIENTS }, (_, index) => client(server, tokens[index % accounts] ?? '')),
    )
    const again = (await rollbacks(url)) - before
    const sum = (count: (each: Done) => number) => done.reduce((all, each) => all + count(each), 0)
    return {
      perSecond: sum(({ requests }) => requests) / SECONDS,
      again: again / sum(({ writes }) => writes),
    }
  } finally {
    await server.close()
    await rm(folder, { recursive: true })
  }
}

/** Files of one account more, in no time: conflicts are rarer the more pages indexes have. */
async function fill(server: Server, token: string, url: string): Promise<void> {
  await upload(server, token, 'first.bin')
  const access = { url, unsafe: true }
  await query(
    access,
    `insert into blob (id, state, size, created_at)
       select gen_random_uuid()::text, 'stored', 1, 0 from generate_series(1, ${FILES});
     insert into small_content (blob_id, sealed)
       select id, '' from blob where created_at = 0;
     insert into account_file (id, owner_id, category_id, blob_id, disk, size, encrypted_size,
         sealed, created_at, trashed_at)
       select gen_random_uuid()::text, owner_id, category_id, blob.id, disk, 1, 1, '', 0, null
       from blob, (select * from account_file limit 1) as file where blob.created_at = 0;
     analyze`,
  )
}

interface Done {
  requests: number
  writes: number
}

async function rollbacks(url: string | undefined): Promise<number> {
  if (url === undefined) return 0
  // What other connections count comes in late.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const [row] = await query<{ count: number }>(
    { url, unsafe: true },
    'select xact_rollback as count from pg_stat_database where datname = current_database()',
  )
  return row?.count ?? 0
}

function upload(server: Server, token: string, name: string): Promise<Response> {
  const form = new FormData()
  form.append('file', new Blob([randomBytes(BYTES)]), name)
  const headers = { authorization: `Bearer ${token}` }
  return fetch(`${server.address}/api/files`, { method: 'POST', headers, body: form })
}

async function client(server: Server, token: string): Promise<Done> {
  const headers = { authorization: `Bearer ${token}` }
  const files: string[] = []
  const ends = performance.now() + SECONDS * 1000
  const done: Done = { requests: 0, writes: 0 }
  while (performance.now() < ends) {
    const turn = done.requests % 10
    const oldest = files[0]
    let response: Response
    if (turn < UPLOADS || oldest === undefined) {
      response = await upload(server, token, `file ${done.requests}.bin`)
      const body = (await response.json()) as { data: { id: string } }
      files.push(body.data.id)
    } else if (turn < UPLOADS + LISTS) {
      response = await fetch(`${server.address}/api/files?page=1`, { headers })
      await response.arrayBuffer()
    } else if (turn < UPLOADS + LISTS + LOOKS) {
      response = await fetch(`${server.address}/api/files/${oldest}`, { headers })
      await response.arrayBuffer()
    } else {
      response = await fetch(`${server.address}/api/files/${files.shift()}`, {
        method: 'DELETE',
        headers,
      })
      await response.arrayBuffer()
    }
    if (!response.ok) throw new Error(`answered ${response.status}`)
    done.requests += 1
    if (response.status === 201 || response.status === 204) done.writes += 1
  }
  return done
}

if (SERVER === undefined) throw new Error('HOLDFAST_BENCH_DATABASE_URL is not set')
for (const accounts of [CLIENTS, 1]) {
  for (let round = 1; round <= ROUNDS; round += 1) {
    const name = `bench_${randomBytes(6).toString('hex')}`
    await query({ url: SERVER, unsafe: true }, `create database ${name}`)
    const url = new URL(SERVER)
    url.pathname = name
    const sqlite = await measure(undefined, accounts)
    const postgres = await measure(url.href, accounts)
    await query({ url: SERVER, unsafe: true }, `drop database ${name} with (force)`)
    const ratio = (postgres.perSecond / sqlite.perSecond).toFixed(2)
    process.stdout.write(
      `${accounts} accounts, round ${round}: SQLite ${sqlite.perSecond.toFixed(0)}/s, PostgreSQL ${postgres.perSecond.toFixed(0)}/s (${ratio}), ${postgres.again.toFixed(2)} run again per write\n`,
    )
  }
}
