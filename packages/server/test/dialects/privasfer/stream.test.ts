import assert from 'node:assert/strict'
import { get, type IncomingMessage } from 'node:http'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccountFile } from '../../../src/core/account-files/files.ts'
import {
  api,
  createOwner,
  indexAll,
  type Owner,
  type PageJson,
  stored,
} from '../../helpers/account.ts'
import { eventually } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { rowsOf } from '../../helpers/store.ts'

const COUNT = 1200

async function scene(
  t: TestContext,
): Promise<{ server: TestServer; who: Owner; all: AccountFile[] }> {
  const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '0' })
  const who = await createOwner(server)
  const name = (n: number) => `file ${String(n).padStart(4, '0')} ${'long '.repeat(40)}.txt`
  const all: AccountFile[] = []
  for (let at = 0; at < COUNT; at += 100) {
    const numbers = Array.from({ length: 100 }, (_, n) => at + n)
    all.push(
      ...(await Promise.all(numbers.map((n) => stored(server, who, name(n), 'x'.repeat(n % 50))))),
    )
  }
  return { server, who, all: all.toSorted((a, b) => b.n - a.n) }
}

/** No reader keeps the database from tidying up: none holds an old state of it. */
async function assertFree(server: TestServer): Promise<void> {
  // Jobs have transactions too, and passes over the log, but short ones.
  await eventually(async () => {
    if (!server.config.postgres) {
      const [row] = await rowsOf(server.config, 'pragma wal_checkpoint(restart)')
      return row?.busy === 0 && row.log === row.checkpointed
    }
    const [row] = await rowsOf(
      server.config,
      `select count(*) as open from pg_stat_activity where datname = current_database()
        and xact_start is not null and pid <> pg_backend_pid()`,
    )
    return row?.open === 0
  })
}

test('a list holds nothing open between its batches, while files come and go', async (t) => {
  const { server, who, all } = await scene(t)
  await indexAll(server)
  const { accountFiles, accountList } = server.core
  const created = all.toReversed()
  const bySize = (a: AccountFile, b: AccountFile) => a.size - b.size || a.n - b.n
  const cases: [
    { sort: { column: 'created_at' | 'size'; descending: boolean }[]; keyword: string },
    AccountFile[],
  ][] = [
    [{ sort: [], keyword: '' }, all],
    [{ sort: [{ column: 'created_at', descending: false }], keyword: '' }, created],
    [{ sort: [{ column: 'size', descending: false }], keyword: '' }, all.toSorted(bySize)],
    [{ sort: [{ column: 'size', descending: true }], keyword: '' }, all.toSorted(bySize).reverse()],
    [{ sort: [], keyword: 'file' }, all],
    [{ sort: [{ column: 'created_at', descending: false }], keyword: 'file' }, created],
  ]
  const meddled = new Set<string>()
  for (const [query, expected] of cases) {
    const seen: string[] = []
    for await (const batch of accountList.all(who.id, { ...query, trashed: 'with' })) {
      seen.push(...batch.map(({ id }) => id))
      await assertFree(server)
      // One more, and one of the last that were listed into the trash.
      meddled.add((await stored(server, who, 'zz new')).id)
      const last = batch.at(-1)
      if (last && !last.trashed) await accountFiles.trash(who.id, last.id).catch(() => undefined)
    }
    assert.deepEqual(
      seen.filter((id) => !meddled.has(id)),
      expected.map(({ id }) => id),
    )
    assert.equal(new Set(seen).size, seen.length, 'none came twice')
  }
})

test('a slow reader gets a whole list, and others are not held up meanwhile', async (t) => {
  const { server, who, all } = await scene(t)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${server.address}/api/files`, { headers: who.headers }, resolve).on('error', reject)
  })
  const pieces: Buffer[] = []
  let count = 0
  for await (const piece of response) {
    pieces.push(piece as Buffer)
    count += 1
    if (count % 20 !== 1) continue
    await sleep(20)
    const fresh = await stored(server, who, 'new in between')
    const removed = await api(server, who, 'DELETE', `/files/${fresh.id}`)
    assert.equal(removed.status, 204)
    await assertFree(server)
  }
  assert.ok(count > 5, 'it came in pieces')
  const { data } = JSON.parse(Buffer.concat(pieces).toString()) as PageJson
  const known = new Set(all.map(({ id }) => id))
  assert.deepEqual(
    data.filter(({ id }) => known.has(id)).map(({ id }) => id),
    all.map(({ id }) => id),
  )
})

test('a reader who leaves in the middle of a list does no harm', async (t) => {
  const { server, who } = await scene(t)
  for (const query of ['', '?sort=size', '?sort=filename_original', '?keyword=file']) {
    await new Promise<void>((resolve, reject) => {
      get(`${server.address}/api/files${query}`, { headers: who.headers }, (response) => {
        response.once('data', () => {
          response.destroy()
          resolve()
        })
      }).on('error', reject)
    })
  }
  assert.equal(((await api(server, who, 'GET', '/files')).body as PageJson).data.length, COUNT)
  await assertFree(server)
  const errors = server.logged.filter((line) => Number(line.level) >= 50)
  assert.deepEqual(errors, [])
})
