import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Client,
  client,
  createCompany,
  resourceOf,
  type TestCompany,
} from '../../helpers/companies.ts'
import { startTestServer } from '../../helpers/server.ts'
import { tamper } from '../../helpers/store.ts'
import { storedFiles } from '../../helpers/stored.ts'

type Who = Exclude<keyof TestCompany, 'id'>

interface Row {
  action: string
  /** Makes the file that is acted upon, as its maker. */
  file: 'whole' | 'open'
  act(by: Client, fileId: string): Promise<{ status: number }>
  /** By who acts on a file that `member` made. */
  ofPerson: Record<Who, number>
  /** By who acts on a file that `app` made. */
  ofApp: Partial<Record<Who, number>>
}

const OPEN = { owner: 200, manager: 200, member: 200, otherMember: 200, app: 200, otherApp: 200 }
const BYTES = Buffer.from('the old content')

const TABLE: Row[] = [
  {
    action: 'metadata',
    file: 'whole',
    act: (by, id) => by.get(id),
    ofPerson: { ...OPEN, stranger: 404 },
    ofApp: { ...OPEN, stranger: 404 },
  },
  {
    action: 'download',
    file: 'whole',
    act: (by, id) => by.download(id),
    ofPerson: { ...OPEN, stranger: 404 },
    ofApp: { ...OPEN, stranger: 404 },
  },
  {
    action: 'the state of an upload',
    file: 'open',
    act: (by, id) => by.state(id),
    ofPerson: { ...OPEN, stranger: 404 },
    ofApp: { ...OPEN, stranger: 404 },
  },
  {
    action: 'send bytes to a file that is not whole',
    file: 'open',
    act: (by, id) => by.send(id, BYTES),
    ofPerson: { ...OPEN, stranger: 404 },
    ofApp: { ...OPEN, stranger: 404 },
  },
  {
    action: 'overwrite a whole file',
    file: 'whole',
    act: (by, id) => by.send(id, Buffer.from('something else')),
    ofPerson: {
      ...{ owner: 403, manager: 403, member: 403, otherMember: 403 },
      ...{ app: 200, otherApp: 200, stranger: 404 },
    },
    ofApp: { owner: 403, member: 403, app: 200, otherApp: 200, stranger: 404 },
  },
  ...(['whole', 'open'] as const).map(
    (file): Row => ({
      action: `delete a file that is ${file}`,
      file,
      act: (by, id) => by.remove(id),
      ofPerson: {
        ...{ owner: 200, manager: 200, member: 200, otherMember: 403 },
        ...{ app: 403, otherApp: 403, stranger: 404 },
      },
      ofApp: { owner: 200, manager: 200, member: 403, app: 200, otherApp: 403, stranger: 404 },
    }),
  ),
]

for (const row of TABLE) {
  for (const [maker, cells] of [
    ['member', row.ofPerson],
    ['app', row.ofApp],
  ] as const) {
    test(`${row.action}, made by ${maker}`, async (t) => {
      const server = await startTestServer(t)
      const company = await createCompany(server)
      const theirs = client(server, company, company[maker])
      for (const [who, expected] of Object.entries(cells)) {
        const answer = row.file === 'whole' ? await theirs.upload(BYTES) : await theirs.init()
        const { id } = resourceOf(answer)
        const { status } = await row.act(client(server, company, company[who as Who]), id)
        assert.equal(status, expected, who)
      }
    })
  }
}

test('a thumbnail that is not there is not there, for members and strangers', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const { id } = resourceOf(await client(server, company, company.member).upload(BYTES))
  const messages = [company.member, company.stranger].map(async (who) => {
    const { status, body } = await client(server, company, who).thumbnail(id)
    return [status, (body as { message: string }).message]
  })
  assert.deepEqual(await Promise.all(messages), [
    [404, 'Thumbnail not found'],
    [404, 'File not found'],
  ])
})

test('strangers find neither the company nor the files of another one in theirs', async (t) => {
  const server = await startTestServer(t)
  const [one, other] = [await createCompany(server), await createCompany(server)]
  const stranger = client(server, one, other.owner)
  assert.equal((await stranger.init()).status, 404)
  assert.equal((await stranger.upload(BYTES)).status, 404)
  assert.deepEqual(await storedFiles(server), [])

  const { id } = resourceOf(await client(server, one, one.member).upload(BYTES))
  for (const wrong of [id, crypto.randomUUID(), 'not-a-uuid', '%00', `${id}x`]) {
    const elsewhere = client(server, other, other.owner)
    for (const ask of [elsewhere.get, elsewhere.download, elsewhere.remove, elsewhere.state]) {
      const answer = await ask(wrong)
      assert.equal(answer.status, 404)
      assert.deepEqual(answer.body, {
        statusCode: 404,
        error: 'Not Found',
        message: 'File not found',
      })
    }
    assert.equal((await elsewhere.send(wrong, BYTES)).status, 404)
  }
})

test('who is taken out of the company sees its files no more, not even her own', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.upload(BYTES))
  await tamper(server.config, 'delete from company_member where identity_id = ?', company.member.id)
  for (const ask of [mia.get, mia.download, mia.remove]) assert.equal((await ask(id)).status, 404)
})
