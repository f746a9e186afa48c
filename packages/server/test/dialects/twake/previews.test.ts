import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import sharp from 'sharp'
import { pattern } from '../../helpers/bytes.ts'
import {
  bearer,
  type Client,
  chunkQuery,
  client,
  createCompany,
  fileForm,
  filesPath,
  type Resource,
  refusal,
  resourceOf,
  type TestCompany,
} from '../../helpers/companies.ts'
import { call, eventually, outcome, pick } from '../../helpers/http.ts'
import { colourOf, jpeg, pdf, svg } from '../../helpers/pictures.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { rowsOf, tamper } from '../../helpers/store.ts'
import { storedFiles } from '../../helpers/stored.ts'

/** One megabyte; and parts of a blob, not rows, as soon as there are two kilobytes. */
const SETTINGS = { HOLDFAST_PREVIEW_MAX_MB: '1', HOLDFAST_SMALL_MAX_KB: '2' }

interface Scene {
  readonly server: TestServer
  readonly company: TestCompany
  readonly mia: Client
}

async function scene(t: TestContext): Promise<Scene> {
  const server = await startTestServer(t, SETTINGS)
  const company = await createCompany(server)
  return { server, company, mia: client(server, company, company.member) }
}

/** Uploads and waits for the previews. */
async function shown(mia: Client, bytes: Uint8Array, filename: string): Promise<Resource> {
  return resourceOf(await mia.upload(bytes, { filename, thumbnail_sync: 1 }))
}

function statusOf({ metadata, thumbnails }: Resource): unknown[] {
  return [metadata?.thumbnails_status, thumbnails.length]
}

test('previews of what comes in', async (t) => {
  const { server, company, mia } = await scene(t)

  await t.test('a picture is fitted and described in both ways', async () => {
    const { id, metadata, thumbnails } = await shown(mia, await jpeg(1200, 900), 'photo.jpg')
    const url = filesPath(company, id, '/thumbnails/0')
    const size = thumbnails[0]?.size ?? 0
    const picture = { width: 533, height: 400 }
    assert.deepEqual(metadata, {
      ...{ name: 'photo.jpg', mime: 'application/octet-stream', thumbnails_status: 'done' },
      ...{ thumbnail: url, ...picture },
    })
    assert.deepEqual(thumbnails, [
      { index: 0, id: '0.webp', size, type: 'image/webp', ...picture, url },
    ])

    const answer = await mia.thumbnail(id)
    assert.equal(answer.status, 200)
    assert.equal(answer.bytes.length, size)
    const { format, width, height } = await sharp(answer.bytes).metadata()
    assert.deepEqual({ format, width, height }, { format: 'webp', ...picture })
    assert.deepEqual(await colourOf(answer.bytes), [51, 102, 153])
  })

  await t.test(
    'a preview is kept by clients, asked for in part or only if it changed',
    async () => {
      const { id } = await shown(mia, await jpeg(40, 30), 'a.jpeg')
      const { headers, bytes } = await mia.thumbnail(id)
      const etag = headers.get('etag') ?? ''
      const names = [
        'content-type',
        'content-length',
        'cache-control',
        'content-disposition',
        'etag',
      ]
      const expected = {
        'content-type': 'image/webp',
        'content-length': String(bytes.length),
        'cache-control': 'private, max-age=31536000',
        'content-disposition': 'inline; filename=0.webp',
        etag,
      }
      assert.deepEqual(pick(headers, ...names), expected)
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      const path = filesPath(company, id, '/thumbnails/0')
      const head = await call(server, 'HEAD', path, { headers: bearer(company.member) })
      assert.deepEqual([head.status, head.bytes.length], [200, 0])
      assert.deepEqual(pick(head.headers, ...names), expected)
      assert.equal((await mia.thumbnail(id, 0, { 'if-none-match': etag })).status, 304)
      const part = await mia.thumbnail(id, 0, { range: 'bytes=8-11' })
      assert.deepEqual([part.status, part.bytes.toString()], [206, 'WEBP'])
      for (const index of ['1', '-1', '00x', '1e9', '99999999999999999999']) {
        const missing = refusal(404, 'Not Found', 'Thumbnail not found')
        assert.deepEqual(outcome(await mia.thumbnail(id, index)), missing, index)
      }
    },
  )

  await t.test(
    'small pictures stay small, turned ones are turned, and nothing is told',
    async () => {
      const bytes = await sharp(await jpeg(30, 20))
        .withExif({ IFD0: { Copyright: 'Quagswagger' } })
        .withMetadata({ orientation: 6 })
        .jpeg()
        .toBuffer()
      assert.ok(bytes.includes('Quagswagger'))
      const { id, thumbnails } = await shown(mia, bytes, 'turned.jpg')
      assert.deepEqual([thumbnails[0]?.width, thumbnails[0]?.height], [20, 30])
      const { exif, icc, xmp, orientation } = await sharp(
        (await mia.thumbnail(id)).bytes,
      ).metadata()
      assert.deepEqual([exif, icc, xmp, orientation], Array(4).fill(undefined))
    },
  )

  await t.test('each format of pictures', async () => {
    const picture = sharp(await jpeg(70, 50))
    const formats = {
      png: picture.png(),
      gif: picture.gif(),
      webp: picture.webp(),
      tiff: picture.tiff(),
      avif: picture.avif({ effort: 0 }),
    }
    for (const [extension, image] of Object.entries(formats)) {
      const { thumbnails } = await shown(mia, await image.toBuffer(), `a.${extension}`)
      assert.deepEqual([thumbnails[0]?.width, thumbnails[0]?.height], [70, 50], extension)
    }
    // Whatever it is called, as long as it is a picture, and by its type if it has no name.
    const bytes = await picture.png().toBuffer()
    assert.equal((await shown(mia, bytes, 'really-png.JPG')).thumbnails.length, 1)
    const typed = await mia.upload(bytes, { type: 'image/png', thumbnail_sync: 'true' })
    assert.equal(resourceOf(typed).thumbnails.length, 1)
    const large = svg('<rect width="100%" height="100%" fill="red"/>').toString()
    const huge = Buffer.from(
      large.replace('width="300" height="200"', 'width="9000" height="9000"'),
    )
    const { id, thumbnails } = await shown(mia, huge, 'a.svg')
    assert.deepEqual([thumbnails[0]?.width, thumbnails[0]?.height], [400, 400])
    assert.deepEqual(await colourOf((await mia.thumbnail(id)).bytes), [255, 0, 0])
  })

  await t.test('the first ten pages of a PDF', async () => {
    const pages = Array.from({ length: 12 }, (_, index) => [index % 2, 0, 1] as const)
    const { id, thumbnails } = await shown(mia, pdf(...pages), 'a.pdf')
    assert.deepEqual(
      thumbnails.map(({ index, width, height }) => [index, width, height]),
      Array.from({ length: 10 }, (_, index) => [index, 282, 400]),
    )
    for (const [index, colour] of [
      [0, 0, 255],
      [255, 0, 255],
    ].entries()) {
      assert.deepEqual(await colourOf((await mia.thumbnail(id, index)).bytes), colour)
    }
  })

  await t.test('a file in chunks', async () => {
    const bytes = await jpeg(1600, 1200)
    const { id } = resourceOf(await mia.init({ filename: 'chunks.jpg' }))
    const half = Math.ceil(bytes.length / 2)
    const query = (number: number) => chunkQuery(number, 2, bytes.length)
    const first = await mia.send(id, bytes.subarray(0, half), { ...query(1), thumbnail_sync: 1 })
    assert.deepEqual(statusOf(resourceOf(first)), ['waiting', 0])
    const last = await mia.send(id, bytes.subarray(half), { ...query(2), thumbnail_sync: 1 })
    assert.deepEqual(statusOf(resourceOf(last)), ['done', 1])
  })

  await t.test('who does not wait is answered before', async () => {
    for (const thumbnail_sync of ['0', 'false', 'False', '', 'null']) {
      const bytes = await jpeg(20, 20)
      const { id, ...file } = resourceOf(
        await mia.upload(bytes, { filename: 'a.jpg', thumbnail_sync }),
      )
      assert.deepEqual(statusOf({ id, ...file }), ['waiting', 0], thumbnail_sync)
      await eventually(async () => resourceOf(await mia.get(id)).thumbnails.length === 1)
    }
    const form = fileForm(await jpeg(20, 20), {
      filename: 'a.jpg',
      fields: { thumbnailSync: '1' },
    })
    const path = filesPath(company)
    const answer = await call(server, 'POST', path, { headers: bearer(company.member), body: form })
    assert.deepEqual(statusOf(resourceOf(answer)), ['done', 1])
  })

  await t.test('what nothing shows, is empty or is too large has none', async () => {
    const cases: [string, Uint8Array][] = [
      ['a.zip', pattern(100)],
      ['a.jpg', Buffer.alloc(0)],
      ['a.jpg', Buffer.concat([await jpeg(20, 20), Buffer.alloc(1024 * 1024)])],
    ]
    for (const [name, bytes] of cases) {
      assert.deepEqual(statusOf(await shown(mia, bytes, name)), ['done', 0], name)
    }
  })

  await t.test('what cannot be shown is an error, and everything goes on', async () => {
    const png = await sharp(await jpeg(300, 200))
      .png()
      .toBuffer()
    const cases: Record<string, [string, Uint8Array]> = {
      'no picture': ['a.png', pattern(1000)],
      'half a picture': ['a.png', png.subarray(0, png.length / 2)],
      'an empty PDF': ['a.pdf', Buffer.from('%PDF-1.7\n')],
      'no PDF': ['a.pdf', png],
      'a PDF that is none inside': ['a.pdf', Buffer.concat([pdf([1, 0, 0]).subarray(0, 60), png])],
      'a script': ['a.svg', svg('<script>1</script>')],
      'a handler': ['a.svg', svg('', 'onload="x()"')],
      'a picture elsewhere': ['a.svg', svg('<image href="http://127.0.0.1/x.png"/>')],
      'a file': ['a.svg', svg('<image href="/etc/passwd"/>')],
      'a style elsewhere': ['a.svg', svg('<style>@import "x.css";</style>')],
      'a filling elsewhere': ['a.svg', svg('<rect fill="url(x.svg#a)"/>')],
      'an entity': [
        'a.svg',
        Buffer.concat([Buffer.from('<!DOCTYPE svg [<!ENTITY a "b">]>'), svg()]),
      ],
    }
    for (const [what, [name, bytes]] of Object.entries(cases)) {
      assert.deepEqual(statusOf(await shown(mia, bytes, name)), ['error', 0], what)
    }
    assert.deepEqual(statusOf(await shown(mia, png, 'good.png')), ['done', 1])
  })

  await t.test('everybody of the company sees them, nobody else', async () => {
    const { id } = await shown(mia, await jpeg(40, 30), 'a.jpg')
    for (const who of ['owner', 'manager', 'otherMember', 'app', 'otherApp'] as const) {
      assert.equal((await client(server, company, company[who]).thumbnail(id)).status, 200, who)
    }
    const stranger = client(server, company, company.stranger)
    assert.deepEqual(
      outcome(await stranger.thumbnail(id)),
      refusal(404, 'Not Found', 'File not found'),
    )
    const path = filesPath(company, id, '/thumbnails/0')
    assert.equal((await call(server, 'GET', path)).status, 401)
    const linked = await call(server, 'GET', `${path}/url`, { headers: bearer(company.member) })
    const { url } = (linked.body as { resource: { url: string } }).resource
    const answer = await call(server, 'GET', url)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin')
  })
})

test('previews change with their file and go with it', async (t) => {
  const { server, company, mia } = await scene(t)
  const editor = client(server, company, company.app)
  // Of many colours, so that its preview is a file too.
  const bytes = await sharp(pattern(300 * 200 * 3), {
    raw: { width: 300, height: 200, channels: 3 },
  })
    .png()
    .toBuffer()
  const { id } = await shown(mia, bytes, 'a.png')
  const before = await mia.thumbnail(id)
  assert.equal((await storedFiles(server)).length, 2, 'content and preview')

  const overwritten = await editor.send(id, await jpeg(90, 60, '#ff0000'), {
    filename: 'b.jpg',
    thumbnail_sync: 1,
  })
  assert.deepEqual(statusOf(resourceOf(overwritten)), ['done', 1])
  const after = await mia.thumbnail(id)
  assert.deepEqual(await colourOf(after.bytes), [255, 0, 0])
  assert.notEqual(after.headers.get('etag'), before.headers.get('etag'))

  const bad = await editor.send(id, pattern(100), { filename: 'b.jpg', thumbnail_sync: 1 })
  assert.deepEqual(statusOf(resourceOf(bad)), ['error', 0])
  assert.equal((await mia.thumbnail(id)).status, 404)

  await editor.send(id, bytes, { filename: 'a.png', thumbnail_sync: 1 })
  assert.equal((await mia.remove(id)).status, 200)
  assert.equal((await mia.thumbnail(id)).status, 404)
  assert.deepEqual(await storedFiles(server), [])
  await server.close()
  const tables = ['blob', 'blob_part', 'small_content', 'preview', 'preview_job']
  const rows = await rowsOf(
    server.config,
    tables.map((table) => `select '${table}' as "table" from ${table}`).join(' union all '),
  )
  assert.deepEqual(rows, [])
})

test('a start goes on with what waits, and remembers what failed', async (t) => {
  const first = await scene(t)
  const failed = await shown(first.mia, pattern(100), 'bad.png')
  const waiting = resourceOf(await first.mia.upload(await jpeg(40, 30), { filename: 'a.jpg' }))
  await first.server.close()
  // As a process leaves it that was killed.
  const { config, clock } = first.server
  await tamper(config, 'delete from preview')
  await tamper(
    config,
    `delete from preview_job where file_id = '${waiting.id}';
    insert into preview_job
      select id, blob_id, 'waiting', 0, 1, ${clock.now + 20_000}, 'dead', 0 from company_file
      where id = '${waiting.id}'`,
  )
  const server = await first.server.restart()
  const mia = client(server, first.company, first.company.member)
  assert.deepEqual(statusOf(resourceOf(await mia.get(failed.id))), ['error', 0])
  assert.deepEqual(await server.core.previewJobs.count(), { waiting: 1, failed: 1 })
  assert.deepEqual(statusOf(resourceOf(await mia.get(waiting.id))), ['waiting', 0])

  server.clock.advance(20_000)
  server.core.previewJobs.announce()
  await eventually(async () => resourceOf(await mia.get(waiting.id)).thumbnails.length === 1)
  assert.deepEqual(await server.core.previewJobs.count(), { waiting: 0, failed: 1 })
})

test('without previews nothing is waited for', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_PREVIEW_MAX_MB: '0' })
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  assert.deepEqual(statusOf(await shown(mia, await jpeg(20, 20), 'a.jpg')), ['done', 0])
})
