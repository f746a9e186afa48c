import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bearer,
  client,
  createCompany,
  fileForm,
  filesPath,
  refusal,
  resourceOf,
} from '../../helpers/companies.ts'
import { call, outcome } from '../../helpers/http.ts'
import { startTestServer } from '../../helpers/server.ts'

const SPELLINGS: Record<string, [chunks: string, size: string, number: string]> = {
  'the seed’s mix': ['total_chunks', 'total_Size', 'chunk_number'],
  underscores: ['total_chunks', 'total_size', 'chunk_number'],
  'camel case': ['totalChunks', 'totalSize', 'chunkNumber'],
  'Resumable.js': ['resumableTotalChunks', 'resumableTotalSize', 'resumableChunkNumber'],
}

for (const [name, [chunks, size, number]] of Object.entries(SPELLINGS)) {
  for (const place of ['query', 'form'] as const) {
    for (const slash of ['', '/']) {
      test(`${name} in the ${place}, ${slash ? 'with' : 'without'} a slash`, async (t) => {
        const server = await startTestServer(t)
        const company = await createCompany(server)
        const headers = bearer(company.member)
        async function post(
          fileId: string | undefined,
          parameters: Record<string, string>,
          body?: string,
        ) {
          const query = place === 'query' ? `?${new URLSearchParams(parameters)}` : ''
          const fields = place === 'form' ? parameters : {}
          const form = body === undefined ? undefined : fileForm(Buffer.from(body), { fields })
          return call(server, 'POST', filesPath(company, fileId, slash + query), {
            headers,
            ...(form && { body: form }),
          })
        }
        const announced = await post(undefined, {
          [chunks]: '2',
          [size]: '6',
          [number]: 'undefined',
        })
        const { id } = resourceOf(announced)
        for (const [index, text] of ['abc', 'def'].entries()) {
          const parameters = { [chunks]: '2', [size]: '6', [number]: String(index + 1) }
          assert.equal((await post(id, parameters, text)).status, 200)
        }
        const mia = client(server, company, company.member)
        assert.equal((await mia.download(id)).bytes.toString(), 'abcdef')
        assert.deepEqual(resourceOf(await mia.get(id)).upload_data, { size: 6, chunks: 2 })
      })
    }
  }
}

test('the first choice wins over the others, and the query over the form', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const query = 'resumableFilename=&filename=second&filename=third&type=null'
  const answer = await call(server, 'POST', filesPath(company, undefined, `?${query}`), {
    headers: bearer(company.member),
    body: fileForm(Buffer.from('a'), {
      filename: 'of the part',
      fields: { resumableFilename: 'of the form', type: 'text/css' },
    }),
  })
  assert.deepEqual(resourceOf(answer).metadata, {
    name: 'second',
    mime: 'text/css',
    thumbnails_status: 'done',
  })
})

test('what a mobile client sends: names without a value, null for the size', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const query = '?thumbnail_sync=1&filename&type&total_size=null'
  const answer = await call(server, 'POST', filesPath(company, undefined, query), {
    headers: bearer(company.member),
    body: fileForm(Buffer.from('jpeg'), { filename: 'IMG_1.jpg', type: 'image/jpeg' }),
  })
  assert.equal(answer.status, 200)
  assert.deepEqual(resourceOf(answer).metadata, {
    name: 'IMG_1.jpg',
    mime: 'image/jpeg',
    thumbnails_status: 'done',
  })
  assert.deepEqual(resourceOf(answer).upload_data, { size: 4, chunks: 1 })
})

test('no number, no statement: undefined, null, nothing and words count as absent', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  for (const absent of ['undefined', 'null', '', 'abc']) {
    const query = { total_chunks: absent, total_size: absent, chunk_number: absent }
    const { id, upload_data } = resourceOf(await mia.init(query))
    assert.equal(upload_data, null)
    assert.equal((await mia.send(id, Buffer.from('x'), query)).status, 200)
    assert.equal((await mia.get(id, query)).status, 200)
  }
})

test('numbers that no chunk has are refused', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.init())
  for (const number of ['0', '-1', '10001', '9'.repeat(400)]) {
    assert.deepEqual(
      outcome(await mia.send(id, Buffer.from('x'), { chunk_number: number })),
      refusal(400, 'Bad Request', 'the chunk number must be from 1 to 10000'),
    )
    assert.equal((await mia.init({ total_chunks: number })).status, 400)
  }
  assert.equal((await mia.init({ total_size: -1 })).status, 400)
  const last = { total_chunks: 10_000, chunk_number: 10_000 }
  assert.equal((await mia.send(id, Buffer.from('x'), last)).status, 200)
})
