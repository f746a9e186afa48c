import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { pattern } from '../../helpers/bytes.ts'
import { call, encodeForm, formType, outcome, pick, refusal } from '../../helpers/http.ts'
import {
  createSharedBox,
  download,
  FINGERPRINT,
  filesWithBytes,
  listSaved,
  METADATA,
  post,
  type SavedFileJson,
  save,
  saved,
  savedFileForm,
  savedUpload,
  saveUpload,
  saving,
  unsave,
} from '../../helpers/saved-files.ts'
import {
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  signInAgain,
  startTestServer,
  upload,
} from '../../helpers/server.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const NO_ACCESS = refusal(403, 'not_defined', 'not a member of a box with this file')
const ANOTHERS = refusal(403, 'not_defined', 'another identity', { identity_id: 'forbidden' })
const WEAK = refusal(403, 'acr', 'token acr is too weak', { acr: 'forbidden', required_acr: '2' })
const NO_SUCH = refusal(404, 'not_defined', 'no such saved file', { id: 'not_found' })
const TOO_LONG = refusal(413, 'not_defined', 'a fingerprint has at most 255 characters', {
  key_fingerprint: 'invalid',
})

/** A refusal of fields, by what is wrong with each. */
function faults(details: Record<string, string>, origin = 'not_defined') {
  const messages: Record<string, string> = {
    required: 'cannot be blank',
    malformed: 'must be in a valid format',
    invalid: 'must be no less than 0',
  }
  const words = Object.entries(details).map(([field, fault]) => `${field}: ${messages[fault]}`)
  return refusal(400, origin, `${words.join('; ')}.`, details)
}

test('saving a file of a box', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, cid, box } = await createSharedBox(server)
  const fileOf = async () => (await upload(server, ann, box)).fileId

  await t.test('answers the saved file, and id and created_at are the server’s', async () => {
    const fileId = await fileOf()
    const sent = { id: randomUUID(), created_at: '1994-11-05T08:15:30-05:00', colour: 'blue' }
    const answer = await call(server, 'POST', '/saved-files', {
      as: bob,
      json: { ...saving(bob, fileId), ...sent },
    })
    const { id } = answer.body as SavedFileJson
    assert.match(id, UUID)
    assert.notEqual(id, sent.id)
    assert.notEqual(id, fileId)
    const expected = {
      id,
      identity_id: bob.id,
      encrypted_file_id: fileId,
      encrypted_metadata: METADATA,
      key_fingerprint: FINGERPRINT,
      created_at: new Date(server.clock.now).toISOString(),
    }
    assert.deepEqual(outcome(answer), { status: 201, body: expected })
    assert.deepEqual(pick(answer.headers, 'content-type', 'cache-control'), {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store, no-cache',
    })
    assert.deepEqual(await listSaved(server, bob), [expected])
  })

  for (const [what, text] of Object.entries({
    'JSON text with + / = { } "': METADATA,
    'padded base64': 'SXQgaXMgc29tZXRpbWVzIGhhcmRlcg==',
    'one letter': 'x',
    'nothing but white space': ' \r\n\t ',
    'text of every plane': 'Übung ∑ 漢字 🗝️ \u0000 \u001f \u2028',
    'half a character': 'a\ud83d',
    'a million letters': 'm'.repeat(1_000_000),
  })) {
    await t.test(`keeps encrypted_metadata verbatim: ${what}`, async () => {
      const fileId = await fileOf()
      const json = { ...saving(bob, fileId), encrypted_metadata: text }
      const answer = await call(server, 'POST', '/saved-files', { as: bob, json })
      assert.equal(answer.status, 201)
      const [newest] = await listSaved(server, bob)
      assert.equal(newest?.encrypted_file_id, fileId)
      assert.equal((answer.body as SavedFileJson).encrypted_metadata, text)
      assert.equal(newest?.encrypted_metadata, text)
    })
  }

  await t.test('takes a fingerprint of 255 characters and keeps it', async () => {
    const json = { ...saving(bob, await fileOf()), key_fingerprint: 'f'.repeat(255) }
    const answer = await call(server, 'POST', '/saved-files', { as: bob, json })
    assert.equal(answer.status, 201)
    assert.equal((await listSaved(server, bob))[0]?.key_fingerprint, 'f'.repeat(255))
  })

  await t.test('counts characters of a fingerprint, not how they are encoded', async () => {
    const json = { ...saving(bob, await fileOf()), key_fingerprint: '🗝'.repeat(255) }
    assert.equal((await call(server, 'POST', '/saved-files', { as: bob, json })).status, 201)
    const longer = { ...saving(bob, await fileOf()), key_fingerprint: '🗝'.repeat(256) }
    const answer = await call(server, 'POST', '/saved-files', { as: bob, json: longer })
    assert.deepEqual(outcome(answer), TOO_LONG)
  })

  await t.test('refuses a fingerprint of 256 characters with 413, and saves nothing', async () => {
    const before = await listSaved(server, bob)
    const json = { ...saving(bob, await fileOf()), key_fingerprint: 'f'.repeat(256) }
    const answer = await call(server, 'POST', '/saved-files', { as: bob, json })
    assert.deepEqual(outcome(answer), TOO_LONG)
    assert.deepEqual(await listSaved(server, bob), before)
  })

  const missing = {
    encrypted_file_id: 'required',
    encrypted_metadata: 'required',
    identity_id: 'required',
    key_fingerprint: 'required',
  }
  for (const [what, json, details] of [
    ['no field', {}, missing],
    ['no body', undefined, missing],
    [
      'fields of other types',
      { encrypted_file_id: 1, encrypted_metadata: {}, identity_id: [], key_fingerprint: true },
      {
        encrypted_file_id: 'malformed',
        encrypted_metadata: 'malformed',
        identity_id: 'malformed',
        key_fingerprint: 'malformed',
      },
    ],
    [
      'empty texts and ids that are no UUID of version 4',
      {
        encrypted_file_id: '99305633-83b4-1fd6-95b6-26987d59bc81',
        encrypted_metadata: '',
        identity_id: 'ann',
        key_fingerprint: '',
      },
      {
        encrypted_file_id: 'malformed',
        encrypted_metadata: 'required',
        identity_id: 'malformed',
        key_fingerprint: 'required',
      },
    ],
  ] as const) {
    await t.test(`names every field at once that is wrong: ${what}`, async () => {
      const answer = await call(server, 'POST', '/saved-files', { as: bob, json })
      assert.deepEqual(outcome(answer), faults(details))
    })
  }

  await t.test('refuses text that is not JSON', async () => {
    const answer = await call(server, 'POST', '/saved-files', {
      as: bob,
      headers: { 'content-type': 'application/json' },
      body: '{"identity_id":',
    })
    const { code, origin, details } = answer.body as Record<string, unknown>
    assert.deepEqual(
      { status: answer.status, code, origin, details },
      { status: 400, code: 'bad_request', origin: 'body', details: {} },
    )
  })

  await t.test('is for oneself: another identity_id is 403, whatever the file', async () => {
    for (const fileId of [await fileOf(), randomUUID()]) {
      const answer = await call(server, 'POST', '/saved-files', {
        as: bob,
        json: saving(ann, fileId),
      })
      assert.deepEqual(outcome(answer), ANOTHERS)
    }
    assert.deepEqual(await listSaved(server, ann), [])
  })

  await t.test('tells a stranger the same of a file as of none', async () => {
    assert.deepEqual(outcome(await save(server, cid, await fileOf())), NO_ACCESS)
    assert.deepEqual(outcome(await save(server, cid, randomUUID())), NO_ACCESS)
    assert.deepEqual(outcome(await save(server, ann, randomUUID())), NO_ACCESS)
    assert.deepEqual(await listSaved(server, cid), [])
  })

  await t.test('twice is 409, and the first stays as it was', async () => {
    const fileId = await fileOf()
    await saved(server, bob, fileId)
    const before = await listSaved(server, bob)
    const json = { ...saving(bob, fileId), encrypted_metadata: 'other' }
    const again = await call(server, 'POST', '/saved-files', { as: bob, json })
    assert.deepEqual(outcome(again), refusal(409, 'not_defined', 'saved already'))
    assert.deepEqual(await listSaved(server, bob), before)
  })

  await t.test('works again once it was given up', async () => {
    const fileId = await fileOf()
    const first = await saved(server, bob, fileId)
    assert.equal((await unsave(server, bob, first)).status, 204)
    assert.notEqual(await saved(server, bob, fileId), first)
  })

  await t.test('one file may be saved by several people, each for herself', async () => {
    const fileId = await fileOf()
    const ids = [await saved(server, ann, fileId), await saved(server, bob, fileId)]
    assert.equal(new Set(ids).size, 2)
    assert.deepEqual(
      [await listSaved(server, ann), await listSaved(server, bob)].map((list) => list[0]?.id),
      ids,
    )
  })
})

test('access to save a file is that of this moment', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, cid, box } = await createSharedBox(server)

  await t.test('who joins may save what was sent before', async () => {
    const { fileId } = await upload(server, ann, box)
    assert.deepEqual(outcome(await save(server, cid, fileId)), NO_ACCESS)
    await server.core.boxes.join(cid.id, box)
    await saved(server, cid, fileId)
    await server.core.boxes.leave(cid.id, box)
  })

  await t.test('who has left may not, and keeps what she saved', async () => {
    const kept = await upload(server, ann, box)
    const other = await upload(server, ann, box)
    await saved(server, bob, kept.fileId)
    await server.core.boxes.leave(bob.id, box)
    assert.deepEqual(outcome(await save(server, bob, other.fileId)), NO_ACCESS)
    assert.equal((await download(server, bob, kept.fileId)).status, 200)
    assert.equal((await download(server, bob, other.fileId)).status, 403)
  })

  await t.test('having it saved does not count as access', async () => {
    const [{ encrypted_file_id = '' } = {}] = await listSaved(server, bob)
    assert.deepEqual(outcome(await save(server, bob, encrypted_file_id)), NO_ACCESS)
    const direct = await savedUpload(server, ann, pattern(10))
    assert.deepEqual(outcome(await save(server, ann, direct.encrypted_file_id)), NO_ACCESS)
  })

  await t.test('who is back is told that she has saved it', async () => {
    const [{ encrypted_file_id = '' } = {}] = await listSaved(server, bob)
    await server.core.boxes.join(bob.id, box)
    const answer = await save(server, bob, encrypted_file_id)
    assert.deepEqual(outcome(answer), refusal(409, 'not_defined', 'saved already'))
  })
})

test('who may use saved files', async (t) => {
  const server = await startTestServer(t)
  const { ann, box } = await createSharedBox(server)
  const weak = await signInAgain(server, ann, 1)
  const { fileId } = await upload(server, ann, box)
  const savedId = await saved(server, ann, fileId)
  const company = await server.core.companies.create({
    name: 'Kelp',
    owners: [ann.id],
    managers: [],
    members: [],
  })
  const { token } = await server.core.companies.createApplication(company.id, 'Importer')
  const routes = [
    ['POST', '/saved-files'],
    ['GET', '/saved-files'],
    ['HEAD', '/saved-files'],
    ['DELETE', `/saved-files/${savedId}`],
    ['POST', `/box-users/${ann.id}/saved-files`],
  ] as const

  for (const [method, path] of routes) {
    const expect = (answer: ReturnType<typeof refusal>) =>
      method === 'HEAD' ? { status: answer.status, body: undefined } : answer

    await t.test(`${method} ${path}: a code by e-mail is not enough`, async () => {
      assert.deepEqual(outcome(await call(server, method, path, { as: weak })), expect(WEAK))
    })

    await t.test(`${method} ${path}: nobody is 401, applications are too`, async () => {
      const headers = { authorization: 'Bearer nobody' }
      assert.equal((await call(server, method, path, { headers })).status, 401)
      const machine = await call(server, method, path, {
        headers: { authorization: `Bearer ${token}` },
      })
      const unauthorized = refusal(401, 'cookies', 'unauthorized client')
      assert.deepEqual(outcome(machine), expect(unauthorized))
    })

    await t.test(`${method} ${path}: the CSRF token is needed to change something`, async () => {
      const headers = { cookie: `accesstoken=${ann.accessToken}; tokentype=bearer` }
      const answer = await call(server, method, path, { headers })
      if (method === 'GET' || method === 'HEAD') {
        assert.equal(answer.status, method === 'GET' ? 200 : 204)
      } else {
        const invalid = { csrf_token: 'invalid' }
        assert.deepEqual(
          outcome(answer),
          refusal(403, 'not_defined', 'invalid csrf token', invalid),
        )
      }
    })
  }

  await t.test('too little assurance is told before what is wrong with the request', async () => {
    for (const [method, path] of [
      ['DELETE', '/saved-files/nonsense'],
      ['GET', '/saved-files?limit=nonsense'],
      ['POST', '/box-users/nonsense/saved-files'],
    ] as const) {
      assert.deepEqual(outcome(await call(server, method, path, { as: weak })), WEAK)
    }
  })

  await t.test('there are no other verbs', async () => {
    for (const [method, path] of [
      ['PUT', '/saved-files'],
      ['PATCH', `/saved-files/${savedId}`],
      ['GET', `/saved-files/${savedId}`],
      ['GET', `/box-users/${ann.id}/saved-files`],
    ] as const) {
      const answer = await call(server, method, path, { as: ann })
      assert.equal(answer.status, 405, `${method} ${path}`)
      assert.equal((answer.body as { code: string }).code, 'method_not_allowed')
    }
  })

  await t.test('nothing of this changed anything', async () => {
    assert.deepEqual(
      (await listSaved(server, ann)).map(({ id }) => id),
      [savedId],
    )
    assert.deepEqual(await filesWithBytes(server), [fileId])
  })
})

test('listing and counting', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, cid, box } = await createSharedBox(server)
  const all: SavedFileJson[] = []
  for (let index = 0; index < 7; index += 1) {
    server.clock.advance(1000)
    const { fileId } = await upload(server, ann, box, pattern(10))
    all.unshift((await save(server, bob, fileId)).body as SavedFileJson)
  }
  const { fileId } = await upload(server, ann, box, pattern(10))
  await saved(server, ann, fileId)

  const list = async (query: string, as: SignedIn = bob) =>
    outcome(await call(server, 'GET', `/saved-files${query}`, { as }))
  const ok = (body: unknown) => ({ status: 200, body })

  await t.test('shows one’s own, newest first', async () => {
    assert.deepEqual(await list(`?identity_id=${bob.id}`), ok(all))
    const times = all.map(({ created_at }) => Date.parse(created_at))
    assert.deepEqual(
      times,
      [...new Set(times)].sort((a, b) => b - a),
      'seven instants',
    )
  })

  await t.test('without identity_id it is one’s own as well', async () => {
    assert.deepEqual(await list(''), ok(all))
    const count = await call(server, 'HEAD', '/saved-files', { as: bob })
    assert.deepEqual(outcome(count), { status: 204, body: undefined })
    assert.equal(count.headers.get('x-total-count'), '7')
  })

  for (const [query, from, to] of [
    ['offset=0&limit=3', 0, 3],
    ['offset=3&limit=3', 3, 6],
    ['offset=6&limit=3', 6, 7],
    ['offset=7&limit=3', 7, 7],
    ['offset=1000', 7, 7],
    ['offset=2', 2, 7],
    ['limit=1', 0, 1],
    ['limit=0', 0, 7],
    ['offset=5&limit=0', 5, 7],
    ['limit=1000', 0, 7],
  ] as const) {
    await t.test(`?${query} is what stands there, offset counting rows`, async () => {
      assert.deepEqual(await list(`?${query}`), ok(all.slice(from, to)))
      assert.deepEqual(
        await list(`?identity_id=${bob.id}&${query}`),
        ok(all.slice(from, to)),
        'with identity_id',
      )
    })
  }

  await t.test('the count is of all, whatever page is asked for', async () => {
    for (const query of [`identity_id=${bob.id}`, 'offset=5&limit=1']) {
      const answer = await call(server, 'HEAD', `/saved-files?${query}`, { as: bob })
      assert.equal(answer.status, 204)
      assert.equal(answer.headers.get('x-total-count'), '7')
    }
  })

  await t.test('who saved nothing has an empty list and a count of 0', async () => {
    assert.deepEqual(await list('', cid), ok([]))
    const answer = await call(server, 'HEAD', '/saved-files', { as: cid })
    assert.equal(answer.headers.get('x-total-count'), '0')
  })

  for (const [query, expected] of [
    [`identity_id=${ann.id}`, ANOTHERS],
    [`identity_id=${randomUUID()}`, ANOTHERS],
    ['identity_id=nobody', faults({ identity_id: 'malformed' })],
    ['identity_id=99305633-83b4-1fd6-95b6-26987d59bc81', faults({ identity_id: 'malformed' })],
  ] as const) {
    await t.test(`?${query} is refused, for the count without words`, async () => {
      assert.deepEqual(await list(`?${query}`), expected)
      const head = await call(server, 'HEAD', `/saved-files?${query}`, { as: bob })
      assert.deepEqual(outcome(head), { status: expected.status, body: undefined })
      assert.equal(head.headers.get('x-total-count'), null)
    })
  }

  for (const [query, expected] of [
    ['limit=many', faults({ limit: 'malformed' }, 'query')],
    ['limit=1.5', faults({ limit: 'malformed' }, 'query')],
    ['offset=', faults({ offset: 'malformed' }, 'query')],
    ['limit=-1', faults({ limit: 'invalid' })],
    ['offset=-1', faults({ offset: 'invalid' })],
    ['limit=-2&offset=-1', faults({ limit: 'invalid', offset: 'invalid' })],
  ] as const) {
    await t.test(`?${query} is refused`, async () => {
      assert.deepEqual(await list(`?${query}`), expected)
    })
  }

  await t.test('real clients say application/json without a body', async () => {
    const headers = { ...bob.headers, 'content-type': 'application/json' }
    assert.equal((await call(server, 'GET', '/saved-files', { headers })).status, 200)
    assert.equal((await call(server, 'HEAD', '/saved-files', { headers })).status, 204)
    const path = `/saved-files/${all[6]?.id}`
    assert.equal((await call(server, 'DELETE', path, { headers })).status, 204)
    assert.deepEqual(await list(''), ok(all.slice(0, 6)))
  })
})

test('without a limit a list shows 500, with limit=0 all', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const { blobs, savedFiles } = server.core
  await Promise.all(
    Array.from({ length: 502 }, async (_, index) => {
      const staged = await blobs.stage(Readable.from([Buffer.from([1])]), 1)
      const text = { encryptedMetadata: String(index), keyFingerprint: 'f' }
      await savedFiles.saveUpload(ann.id, staged, text)
    }),
  )
  const listed = async (query: string) => {
    const answer = await call(server, 'GET', `/saved-files${query}`, { as: ann })
    return (answer.body as SavedFileJson[]).map(({ id }) => id)
  }
  const all = await listed('?limit=0')
  assert.equal(new Set(all).size, 502)
  assert.deepEqual(await listed(''), all.slice(0, 500))
  assert.deepEqual(await listed('?offset=1'), all.slice(1, 501))
  assert.deepEqual(await listed('?offset=500'), all.slice(500))
  assert.deepEqual(await listed('?limit=501'), all.slice(0, 501))
  const count = await call(server, 'HEAD', '/saved-files', { as: ann })
  assert.equal(count.headers.get('x-total-count'), '502')
})

test('deleting a saved file', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  const { fileId } = await upload(server, ann, box)

  await t.test('answers nothing, and a second time 404', async () => {
    const id = await saved(server, bob, fileId)
    const answer = await unsave(server, bob, id)
    assert.deepEqual(outcome(answer), { status: 204, body: undefined })
    assert.deepEqual(await listSaved(server, bob), [])
    assert.deepEqual(outcome(await unsave(server, bob, id)), NO_SUCH)
  })

  await t.test('another’s is 403 and stays', async () => {
    const id = await saved(server, bob, fileId)
    assert.deepEqual(
      outcome(await unsave(server, ann, id)),
      refusal(403, 'not_defined', 'saved by somebody else', { id: 'forbidden' }),
    )
    assert.equal((await listSaved(server, bob))[0]?.id, id)
  })

  await t.test('the id is the saved file’s, not the file’s', async () => {
    assert.deepEqual(outcome(await unsave(server, bob, fileId)), NO_SUCH)
    assert.deepEqual(outcome(await unsave(server, bob, randomUUID())), NO_SUCH)
    assert.deepEqual(outcome(await unsave(server, bob, 'nonsense')), faults({ id: 'malformed' }))
  })

  await t.test('works for who has left the box', async () => {
    const [{ id = '' } = {}] = await listSaved(server, bob)
    await server.core.boxes.leave(bob.id, box)
    assert.equal((await unsave(server, bob, id)).status, 204)
    assert.deepEqual(await filesWithBytes(server), [fileId])
  })
})

test('is_saved tells each member what she has saved', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  const one = await upload(server, ann, box)
  const two = await upload(server, ann, box)
  const savedId = await saved(server, bob, one.fileId)

  interface FileEvent {
    id: string
    type: string
    content: { is_saved: boolean }
  }
  const flags = async (who: SignedIn, list: 'events' | 'files') => {
    const answer = await call(server, 'GET', `/boxes/${box}/${list}`, { as: who })
    return (answer.body as FileEvent[])
      .filter(({ type }) => type === 'msg.file')
      .map(({ id, content }) => [id, content.is_saved])
  }
  for (const list of ['events', 'files'] as const) {
    assert.deepEqual(await flags(bob, list), [
      [two.eventId, false],
      [one.eventId, true],
    ])
    assert.deepEqual(await flags(ann, list), [
      [two.eventId, false],
      [one.eventId, false],
    ])
  }
  await saved(server, bob, two.fileId)
  const shown = await call(server, 'GET', `/boxes/${box}`, { as: bob })
  const { last_event: last } = shown.body as { last_event: FileEvent }
  assert.deepEqual([last.id, last.content.is_saved], [two.eventId, true])

  await unsave(server, bob, savedId)
  assert.deepEqual(await flags(bob, 'events'), [
    [two.eventId, true],
    [one.eventId, false],
  ])
})

test('uploading straight into one’s saved files', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_BOX_FILE_MAX_MB: '1' })
  const { ann, bob } = await createSharedBox(server)
  const path = `/box-users/${ann.id}/saved-files`
  const uploadParts = (...parts: Parameters<typeof encodeForm>[0]) =>
    call(server, 'POST', path, {
      headers: { ...ann.headers, ...formType() },
      body: new Uint8Array(encodeForm(parts)),
    })
  const file = { name: 'encrypted_file', filename: 'blob', content: pattern(100) }
  const metadata = { name: 'encrypted_metadata', content: METADATA }
  const fingerprint = { name: 'key_fingerprint', content: FINGERPRINT }

  for (const [what, size] of [
    ['one byte', 1],
    ['a small file', 1000],
    ['a large file', 200_000],
    ['a file of exactly the limit', 1024 * 1024],
  ] as const) {
    await t.test(`${what} is saved, for its owner alone`, async () => {
      const bytes = pattern(size)
      const answer = await saveUpload(server, ann, bytes)
      const { id, encrypted_file_id } = answer.body as SavedFileJson
      const expected = {
        id,
        identity_id: ann.id,
        encrypted_file_id,
        encrypted_metadata: METADATA,
        key_fingerprint: FINGERPRINT,
        created_at: new Date(server.clock.now).toISOString(),
      }
      assert.deepEqual(outcome(answer), { status: 201, body: expected })
      for (const given of [id, encrypted_file_id]) assert.match(given, UUID)
      assert.deepEqual((await listSaved(server, ann))[0], expected)
      const own = await download(server, ann, encrypted_file_id)
      assert.equal(own.status, 200)
      assert.ok(own.bytes.equals(bytes))
      assert.deepEqual(outcome(await download(server, bob, encrypted_file_id)), NO_ACCESS)
    })
  }

  await t.test('the same bytes twice are two files', async () => {
    const one = await savedUpload(server, ann, pattern(100))
    const two = await savedUpload(server, ann, pattern(100))
    assert.notEqual(one.encrypted_file_id, two.encrypted_file_id)
  })

  await t.test('its parts come in any order, the file with or without a filename', async () => {
    const { filename: _, ...nameless } = file
    for (const parts of [
      [metadata, fingerprint, file],
      [fingerprint, file, metadata],
      [nameless, metadata, fingerprint],
      [{ ...file, type: 'image/png', filename: 'Übung.png' }, metadata, fingerprint],
      [file, metadata, { name: 'identity_id', content: bob.id }, fingerprint],
    ]) {
      const answer = await uploadParts(...parts)
      assert.equal(answer.status, 201, `${answer.bytes}`)
      const saved = answer.body as SavedFileJson
      assert.equal(saved.identity_id, ann.id)
      assert.ok((await download(server, ann, saved.encrypted_file_id)).bytes.equals(file.content))
    }
  })

  await t.test('keeps its texts verbatim', async () => {
    const text = ' Übung ∑ 漢字 🗝️ "{}" + / =\r\n'
    const answer = await uploadParts(
      file,
      { ...metadata, content: text },
      { ...fingerprint, content: '🗝'.repeat(255) },
    )
    assert.equal(answer.status, 201)
    const [newest] = await listSaved(server, ann)
    assert.equal(newest?.encrypted_metadata, text)
    assert.equal(newest?.key_fingerprint, '🗝'.repeat(255))
  })

  const before = await filesWithBytes(server)
  const savedBefore = await listSaved(server, ann)
  const NO_FILE = refusal(400, 'body', 'no file', { encrypted_file: 'required' })
  const TOO_BIG = refusal(400, 'not_defined', 'size: the maximum file size is 1MB.', {
    size: 'invalid',
  })
  for (const [what, parts, expected] of [
    ['no file', [metadata, fingerprint], NO_FILE],
    ['another file', [{ ...file, name: 'file' }, metadata, fingerprint], NO_FILE],
    [
      'an empty file',
      [{ ...file, content: '' }, metadata, fingerprint],
      faults({ size: 'required' }),
    ],
    [
      'one byte more than the limit',
      [{ ...file, content: pattern(1024 * 1024 + 1) }, metadata, fingerprint],
      TOO_BIG,
    ],
    ['no texts', [file], faults({ encrypted_metadata: 'required', key_fingerprint: 'required' })],
    [
      'empty texts',
      [file, { ...metadata, content: '' }, { ...fingerprint, content: '' }],
      faults({ encrypted_metadata: 'required', key_fingerprint: 'required' }),
    ],
    [
      'an empty file without texts',
      [{ ...file, content: '' }],
      faults({ encrypted_metadata: 'required', key_fingerprint: 'required', size: 'required' }),
    ],
    [
      'a large file without its fingerprint',
      [{ ...file, content: pattern(200_000) }, metadata],
      faults({ key_fingerprint: 'required' }),
    ],
    [
      'a long fingerprint',
      [file, metadata, { ...fingerprint, content: 'f'.repeat(256) }],
      TOO_LONG,
    ],
    [
      'a long fingerprint without metadata',
      [file, { ...fingerprint, content: 'f'.repeat(256) }],
      faults({ encrypted_metadata: 'required' }),
    ],
  ] as const) {
    await t.test(`${what} is refused`, async () => {
      assert.deepEqual(outcome(await uploadParts(...parts)), expected)
    })
  }

  await t.test('what is no form is refused', async () => {
    const answer = await call(server, 'POST', path, { as: ann, json: {} })
    const { details, origin } = answer.body as Record<string, unknown>
    assert.deepEqual(
      { status: answer.status, origin, details },
      { status: 400, origin: 'body', details: { encrypted_file: 'required' } },
    )
  })

  await t.test('another’s saved files are closed', async () => {
    const answer = await call(server, 'POST', path, { as: bob, body: savedFileForm(pattern(100)) })
    assert.deepEqual(outcome(answer), refusal(403, 'not_defined', 'another identity'))
    const malformed = await call(server, 'POST', '/box-users/ann/saved-files', {
      as: ann,
      body: savedFileForm(pattern(100)),
    })
    assert.deepEqual(outcome(malformed), faults({ id: 'malformed' }))
  })

  await t.test('what was refused has left nothing', async () => {
    assert.deepEqual(await filesWithBytes(server), before)
    assert.deepEqual(await listSaved(server, ann), savedBefore)
    assert.deepEqual(await listSaved(server, bob), [])
  })
})

test('a file that is in no box cannot be put into one by an event', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  const { encrypted_file_id } = await savedUpload(server, ann, pattern(100))
  const content = { encrypted: 'Ym9uam91cg', public_key: PUBLIC_KEY, encrypted_file_id }
  const answer = await post(server, bob, box, { type: 'msg.file', content })
  assert.deepEqual(outcome(answer), faults({ type: 'malformed' }))
  assert.equal((await download(server, bob, encrypted_file_id)).status, 403)
})
