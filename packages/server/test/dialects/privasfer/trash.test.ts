import assert from 'node:assert/strict'
import { test } from 'node:test'
import { api, createOwner, type FileJson, list, message, uploaded } from '../../helpers/account.ts'
import { pattern } from '../../helpers/bytes.ts'
import { eventually, outcome } from '../../helpers/http.ts'
import { startTestServer } from '../../helpers/server.ts'
import { rowsOf } from '../../helpers/store.ts'
import { storedFiles } from '../../helpers/stored.ts'

const NOT_FOUND = message(404, 'Not Found.')

test('deleting takes the bytes at once and keeps the record for a month', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const small = await uploaded(server, who, 'small.txt', 'x')
  const large = await uploaded(server, who, 'large.bin', pattern(300_000))
  const content = async () => {
    const count = (table: string) => `(select count(*) from ${table}) as ${table}`
    const counts = ['blob', 'blob_part', 'small_content'].map(count).join()
    return Object.values((await rowsOf(server.config, `select ${counts}`))[0] ?? {})
  }
  assert.deepEqual([await storedFiles(server), await content()].flat().length, 4)
  for (const { id } of [small, large]) {
    const removed = await api(server, who, 'DELETE', `/files/${id}`)
    assert.deepEqual(outcome(removed), { status: 204, body: undefined })
    assert.equal(removed.headers.get('content-length'), null)
  }
  assert.deepEqual(await storedFiles(server), [])
  assert.deepEqual(await content(), [0, 0, 0])

  for (const { category: _, ...file } of [small, large]) {
    const shown = await api(server, who, 'GET', `/files/${file.id}`)
    assert.deepEqual(outcome(shown), { status: 200, body: { data: { ...file, trashed: true } } })
    for (const method of ['GET', 'HEAD']) {
      const download = await api(server, who, method, `/files/${file.id}/download`)
      assert.equal(download.status, 404)
    }
    assert.deepEqual(outcome(await api(server, who, 'DELETE', `/files/${file.id}`)), NOT_FOUND)
  }

  // Another start in between changes nothing.
  const again = await server.restart()
  assert.equal((await list(again, who)).length, 2)
  server.clock.now = Date.UTC(2026, 1, 15, 12) - 1
  assert.equal(await again.core.accountFiles.purge(), 0)
  server.clock.now += 1
  assert.equal(await again.core.accountFiles.purge(), 2)
  assert.deepEqual(outcome(await api(again, who, 'GET', `/files/${small.id}`)), NOT_FOUND)
  assert.deepEqual(await list(again, who), [])
})

test('a start purges what is due', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const { id } = await uploaded(server, who)
  await api(server, who, 'DELETE', `/files/${id}`)
  server.clock.advance(40 * 24 * 3600 * 1000)
  const again = await server.restart()

  await eventually(async () => (await list(again, who)).length === 0)
})

test('nobody else sees, deletes or downloads a file', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const other = await createOwner(server, 'Somebody Else')
  const { id } = await uploaded(server, who)
  for (const wrong of [id, id.toUpperCase(), 'x', '%2e%2e', '%', `${id}%00`, 'a'.repeat(2000)]) {
    for (const [method, path] of [
      ['GET', `/files/${wrong}`],
      ['DELETE', `/files/${wrong}`],
      ['GET', `/files/${wrong}/download`],
    ] as const) {
      assert.deepEqual(outcome(await api(server, other, method, path)), NOT_FOUND, path)
    }
  }
  assert.deepEqual(await list(server, other), [])
  const shown = (await api(server, who, 'GET', `/files/${id}`)).body as { data: FileJson }
  assert.equal(shown.data.trashed, false)
})
