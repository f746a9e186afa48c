import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bearer, client, createCompany, fileForm, filesPath } from '../../helpers/companies.ts'
import { call } from '../../helpers/http.ts'
import { loadFixture, replay } from '../../helpers/replay.ts'
import { startTestServer } from '../../helpers/server.ts'

for (const name of ['classic-upload', 'upload-with-chunk']) {
  test(`the document's requests and answers: ${name}`, async (t) => {
    const server = await startTestServer(t)
    const company = await createCompany(server)
    const fixture = await loadFixture(new URL(`./seed/${name}.json`, import.meta.url))
    await replay(t, server, fixture, {
      company: company.id,
      member: company.member.id,
      token: company.member.token,
      appToken: company.app.token,
    })
  })
}

test('the whole resource, of a person and of an application', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const at = server.clock.now
  for (const who of ['member', 'app'] as const) {
    const { id, body } = await created(client(server, company, company[who]))
    server.clock.advance(1)
    assert.deepEqual(body, {
      resource: {
        company_id: company.id,
        id,
        owner_type: who === 'app' ? 'application' : 'user',
        owner_id: company[who].id,
        user_id: company[who].id,
        application_id: who === 'app' ? company.app.id : null,
        encryption_key: '',
        updated_at: who === 'app' ? at + 1 : at,
        created_at: who === 'app' ? at + 1 : at,
        metadata: { name: 'a.txt', mime: 'text/plain', thumbnails_status: 'done' },
        thumbnails: [],
        upload_data: { size: 3, chunks: 1 },
      },
    })
  }
})

async function created(by: ReturnType<typeof client>) {
  const { body } = await by.upload(Buffer.from('abc'), { filename: 'a.txt', type: 'text/plain' })
  return { body, id: (body as { resource: { id: string } }).resource.id }
}

test('what was announced without a word has neither metadata nor upload data yet', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  for (const slash of ['', '/']) {
    for (const [type, body] of ANNOUNCEMENTS) {
      const answer = await call(server, 'POST', filesPath(company, undefined, slash), {
        headers: { ...bearer(company.member), ...(type && { 'content-type': type }) },
        body,
      })
      const { resource } = answer.body as { resource: Record<string, unknown> }
      const { metadata, upload_data, thumbnails } = resource
      assert.equal(answer.status, 200)
      assert.deepEqual([metadata, upload_data, thumbnails], [null, null, []])
    }
  }
})

/** Every way in which clients send no bytes. */
const ANNOUNCEMENTS: [type: string | undefined, body: string | null][] = [
  [undefined, null],
  ['application/json', null],
  ['application/json', '{}'],
  ['application/x-www-form-urlencoded', 'a=b'],
  ['multipart/form-data; boundary=x', '--x--\r\n'],
]

test('a body of another type is refused', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  for (const type of ['application/octet-stream', 'text/plain']) {
    const headers = { ...bearer(company.member), 'content-type': type }
    const { status } = await call(server, 'POST', filesPath(company), { headers, body: 'x' })
    assert.equal(status, 415)
  }
})

test('the first file part wins, whatever its name', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const form = fileForm(Buffer.from('first'), { part: 'anything', filename: 'one.txt' })
  form.append('file', new Blob(['second']), 'two.txt')
  const answer = await call(server, 'POST', filesPath(company), {
    headers: bearer(company.member),
    body: form,
  })
  const { id } = (answer.body as { resource: { id: string } }).resource
  assert.equal((await mia.download(id)).bytes.toString(), 'first')
})

test('what a person posts to a file without bytes changes nothing', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id, body } = await created(mia)
  server.clock.advance(1000)
  for (const slash of ['', '/']) {
    const path = filesPath(company, id, `${slash}?total_chunks=7&filename=other`)
    const answer = await call(server, 'POST', path, { headers: bearer(company.member) })
    assert.deepEqual([answer.status, answer.body], [200, body])
  }
})
