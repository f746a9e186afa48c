import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  api,
  createOwner,
  type FileJson,
  indexAll,
  invalid,
  list,
  message,
  names,
  type Owner,
  type PageJson,
  stored,
  uploaded,
} from '../../helpers/account.ts'
import { type Answer, outcome } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { rowsOf, tamper } from '../../helpers/store.ts'

const QUIET = { HOLDFAST_API_RATE_LIMIT: '0' }

async function scene(t: TestContext): Promise<{ server: TestServer; who: Owner }> {
  const server = await startTestServer(t, QUIET)
  return { server, who: await createOwner(server) }
}

/** Files of these names, one a second, each with as many bytes as `sizes` says. */
async function fill(server: TestServer, who: Owner, ...files: [string, number][]): Promise<void> {
  for (const [name, size] of files) {
    server.clock.advance(1000)
    await stored(server, who, name, Buffer.alloc(size))
  }
}

test('a file has every property, in the documented order', async (t) => {
  const { server, who } = await scene(t)
  const file = await uploaded(server, who, 'a.tar.gz', 'x'.repeat(1536), 'application/x-thing')
  const user = {
    name: 'Author Name',
    initials: 'Author N.',
    email: who.email,
    photo_url: `${server.config.publicUrl}/images/no_image.png`,
    timezone: 'UTC',
  }
  const expected: FileJson = {
    id: file.id,
    filename: 'a.tar',
    type: 'application/x-thing',
    extension: 'gz',
    full_filename: 'a.tar.gz',
    size: 1536,
    formatted_size: '1.5 KB',
    encrypted_size: 1569,
    formatted_encrypted_size: '1.53 KB',
    category: { id: file.category?.id ?? '', name: 'Uploads', created_at: '2026-01-15 12:00:00' },
    created_by: user,
    created_at: '2026-01-15 12:00:00',
    disk: 'local',
    trashed: false,
  }
  assert.equal(JSON.stringify(file), JSON.stringify(expected))
  assert.deepEqual(outcome(await api(server, who, 'GET', '/user')), {
    status: 200,
    body: { data: user },
  })
})

test('an account without files is an empty list', async (t) => {
  const { server, who } = await scene(t)
  for (const query of ['', '?sort=size', '?sort=filename_original', '?keyword=abc', '?keyword=a']) {
    const answer = await api(server, who, 'GET', `/files${query}`)
    assert.deepEqual(outcome(answer), { status: 200, body: { data: [] } }, query)
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  }
})

test('the category is there when it is included, and for nothing else', async (t) => {
  const { server, who } = await scene(t)
  const { id, category } = await uploaded(server, who)
  for (const query of ['?include=category', '?include=category,category', '?include=,category,']) {
    for (const file of [
      (await list(server, who, query))[0],
      ((await api(server, who, 'GET', `/files/${id}${query}`)).body as { data: FileJson }).data,
    ]) {
      assert.deepEqual(file?.category, category, query)
    }
  }
  for (const query of ['', '?include=', '?include=,']) {
    assert.equal((await list(server, who, query))[0]?.category, undefined)
  }
  const refused = message(
    400,
    'Given include(s) `bogus, tags` are not allowed. Allowed include(s) are `category`.',
  )
  for (const path of ['/files', `/files/${id}`]) {
    const query = '?include=bogus,category,tags'
    assert.deepEqual(outcome(await api(server, who, 'GET', `${path}${query}`)), refused)
  }
})

test('lists are sorted by each column, in both directions', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ['b.txt', 30], ['File 10.txt', 20], ['file 9.txt', 40], ['Ä.txt', 10])
  const orders: [string, string][] = [
    ['', 'Ä.txt|file 9.txt|File 10.txt|b.txt'],
    ['created_at', 'b.txt|File 10.txt|file 9.txt|Ä.txt'],
    ['-created_at', 'Ä.txt|file 9.txt|File 10.txt|b.txt'],
    ['size', 'Ä.txt|File 10.txt|b.txt|file 9.txt'],
    ['-size', 'file 9.txt|b.txt|File 10.txt|Ä.txt'],
    ['encrypted_size', 'Ä.txt|File 10.txt|b.txt|file 9.txt'],
    ['-encrypted_size', 'file 9.txt|b.txt|File 10.txt|Ä.txt'],
    ['filename_original', 'Ä.txt|b.txt|file 9.txt|File 10.txt'],
    ['-filename_original', 'File 10.txt|file 9.txt|b.txt|Ä.txt'],
    ['filename', 'Ä.txt|b.txt|file 9.txt|File 10.txt'],
    [',size,', 'Ä.txt|File 10.txt|b.txt|file 9.txt'],
  ]
  for (const [sort, expected] of orders) {
    assert.equal((await names(server, who, `?sort=${sort}`)).join('|'), expected, sort)
    assert.equal((await names(server, who, `?sort=${sort}&per_page=100`)).join('|'), expected, sort)
  }
})

test('a comma list sorts by its first column, then by the next', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ['b', 5], ['a', 7], ['c', 5], ['a', 5], ['b', 7])
  const ordered = async (sort: string) =>
    (await list(server, who, `?sort=${sort}`)).map(
      (file) => `${file.full_filename}${file.size}@${file.created_at.slice(-1)}`,
    )
  assert.deepEqual(await ordered('-size,created_at'), ['a7@2', 'b7@5', 'b5@1', 'c5@3', 'a5@4'])
  assert.deepEqual(await ordered('-size,-created_at'), ['b7@5', 'a7@2', 'a5@4', 'c5@3', 'b5@1'])
  assert.deepEqual(await ordered('size,filename_original'), [
    ...['a5@4', 'b5@1', 'c5@3', 'a7@2', 'b7@5'],
  ])
  assert.deepEqual(await ordered('filename_original,-size'), [
    ...['a7@2', 'a5@4', 'b7@5', 'b5@1', 'c5@3'],
  ])
})

test('equal files keep their order over pages, and one direction is the other one backwards', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ...Array.from({ length: 9 }, (_, n): [string, number] => [`f${n}`, 5]))
  const newest = ['f8', 'f7', 'f6', 'f5', 'f4', 'f3', 'f2', 'f1', 'f0']
  for (const sort of ['size', 'encrypted_size']) {
    const paged: string[] = []
    for (const page of [1, 2, 3]) {
      paged.push(...(await names(server, who, `?sort=-${sort}&per_page=4&page=${page}`)))
    }
    assert.deepEqual(paged, newest)
    assert.deepEqual(await names(server, who, `?sort=-${sort}`), newest)
    assert.deepEqual(await names(server, who, `?sort=${sort}`), newest.toReversed())
  }
})

test('a sort that there is not is refused, with the ones that there are', async (t) => {
  const { server, who } = await scene(t)
  const refused = (names: string) =>
    message(
      400,
      `Given sort(s) \`${names}\` is not allowed. Allowed sort(s) are \`filename_original, size, encrypted_size, created_at\`.`,
    )
  const cases: [string, string][] = [
    ['bogus', 'bogus'],
    ['-bogus', 'bogus'],
    ['size,bogus,-id', 'bogus, id'],
    ['--size', '-size'],
    ['Size', 'Size'],
    ['constructor', 'constructor'],
    ['__proto__', '__proto__'],
  ]
  for (const [sort, named] of cases) {
    const answer = await api(server, who, 'GET', `/files?sort=${sort}`)
    assert.deepEqual(outcome(answer), refused(named), sort)
  }
})

test('a keyword finds part of a name, before and after it was indexed', async (t) => {
  const { server, who } = await scene(t)
  const given = [
    'Invoice 2026.pdf',
    'invoice_draft.PDF',
    'INVOICE 50%.txt',
    'Ąžuolas résumé.doc',
    're\u0301sume\u0301 two.doc',
    'STRASSE.txt',
    'ΟΔΥΣΣΕΑΣ.pdf',
    'حساب ١٢٣.pdf',
    '😀😀.png',
    'a.b',
  ]
  await fill(server, who, ...given.map((name): [string, number] => [name, 1]))
  const cases: [string, string[]][] = [
    ['INV', ['INVOICE 50%.txt', 'invoice_draft.PDF', 'Invoice 2026.pdf']],
    ['invoice', ['INVOICE 50%.txt', 'invoice_draft.PDF', 'Invoice 2026.pdf']],
    ['%', ['INVOICE 50%.txt']],
    ['50%', ['INVOICE 50%.txt']],
    ['%.t', ['INVOICE 50%.txt']],
    ['inv%', []],
    ['_', ['invoice_draft.PDF']],
    ['e_d', ['invoice_draft.PDF']],
    ['i_v', []],
    ['.pdf', ['حساب ١٢٣.pdf', 'ΟΔΥΣΣΕΑΣ.pdf', 'invoice_draft.PDF', 'Invoice 2026.pdf']],
    ['resume', ['re\u0301sume\u0301 two.doc', 'Ąžuolas résumé.doc']],
    ['RÉSUMÉ', ['re\u0301sume\u0301 two.doc', 'Ąžuolas résumé.doc']],
    ['azuol', ['Ąžuolas résumé.doc']],
    ['straße', ['STRASSE.txt']],
    ['οδυσσεασ', ['ΟΔΥΣΣΕΑΣ.pdf']],
    ['ΟΔΥΣΣΕΑΣ', ['ΟΔΥΣΣΕΑΣ.pdf']],
    ['حساب', ['حساب ١٢٣.pdf']],
    ['😀', ['😀😀.png']],
    ['.b', ['a.b']],
    ['A', ['a.b', 'STRASSE.txt', 'Ąžuolas résumé.doc', 'invoice_draft.PDF']],
    ['  draft ', ['invoice_draft.PDF']],
    ['Invoice 2026.pdf', ['Invoice 2026.pdf']],
    ['"draft"', []],
    ['draft AND', []],
    ['inv*', []],
  ]
  async function check(): Promise<void> {
    for (const [keyword, expected] of cases) {
      const query = `?keyword=${encodeURIComponent(keyword)}`
      assert.deepEqual(await names(server, who, query), expected, keyword)
      assert.deepEqual(await names(server, who, `${query}&per_page=100`), expected, keyword)
      const oldest = await names(server, who, `${query}&sort=created_at`)
      assert.deepEqual(oldest, expected.toReversed(), keyword)
    }
    for (const blank of ['', '%20%20', '%CC%81']) {
      assert.equal((await names(server, who, `?keyword=${blank}`)).length, given.length)
    }
  }
  await check()
  await indexAll(server)
  await check()
  const [{ waiting }] = (await rowsOf(
    server.config,
    'select count(*) as waiting from search_todo',
  )) as [{ waiting: number }]
  assert.equal(waiting, 0)
})

test('a keyword never finds the files of somebody else', async (t) => {
  const { server, who } = await scene(t)
  const other = await createOwner(server, 'Somebody Else')
  await stored(server, other, 'invoice.pdf')
  for (const keyword of ['invoice', 'in', '']) {
    assert.deepEqual(await names(server, who, `?keyword=${keyword}`), [])
  }
  await indexAll(server)
  assert.deepEqual(await names(server, who, '?keyword=invoice'), [])
  assert.deepEqual(await names(server, other, '?keyword=invoice'), ['invoice.pdf'])
})

test('keyword, sort and trash go together', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ['report a', 3], ['report b', 9], ['other', 5], ['report c', 6])
  for (const indexed of [false, true]) {
    if (indexed) await indexAll(server)
    assert.deepEqual(await names(server, who, '?keyword=report&sort=-size'), [
      ...['report b', 'report c', 'report a'],
    ])
    assert.deepEqual(await names(server, who, '?keyword=re&sort=size&per_page=2'), [
      ...['report a', 'report c'],
    ])
    assert.deepEqual(await names(server, who, '?keyword=report&sort=size&per_page=2&page=2'), [
      'report b',
    ])
  }
  const [first] = await list(server, who, '?keyword=report')
  await api(server, who, 'DELETE', `/files/${first?.id}`)
  assert.deepEqual(await names(server, who, '?keyword=report&trashed=only'), ['report c'])
  assert.deepEqual(await names(server, who, '?keyword=report&trashed=without&sort=filename'), [
    ...['report a', 'report b'],
  ])
})

test('records in the trash are listed unless they are left out', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ['kept', 1], ['gone', 2])
  const [gone] = await list(server, who)
  await api(server, who, 'DELETE', `/files/${gone?.id}`)
  const flags = async (query: string) =>
    (await list(server, who, query)).map((file) => [file.full_filename, file.trashed])
  const both = [
    ['gone', true],
    ['kept', false],
  ]
  assert.deepEqual(await flags(''), both)
  assert.deepEqual(await flags('?trashed='), both)
  assert.deepEqual(await flags('?trashed=with'), both)
  for (const sort of ['', '&sort=size', '&sort=-encrypted_size', '&sort=filename']) {
    assert.deepEqual(await flags(`?trashed=without${sort}`), [['kept', false]])
    assert.deepEqual(await flags(`?trashed=only${sort}`), [['gone', true]])
  }
  assert.deepEqual(
    outcome(await api(server, who, 'GET', '/files?trashed=maybe')),
    invalid({ trashed: ['The selected trashed is invalid.'] }),
  )
})

test('nothing is paginated unless a page is asked for', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ...Array.from({ length: 20 }, (_, n): [string, number] => [`f${n}`, 1]))
  const all = (await api(server, who, 'GET', '/files')).body as PageJson
  assert.deepEqual([Object.keys(all), all.data.length], [['data'], 20])
  const first = (await api(server, who, 'GET', '/files?page=1')).body as PageJson
  assert.deepEqual([first.data.length, first.meta?.per_page], [15, 15])
})

test('a page has links and meta', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ...Array.from({ length: 5 }, (_, n): [string, number] => [`f${n}`, n]))
  const path = `${server.config.publicUrl}/api/files`
  const link = (page: number) => `${path}?sort=-size&per_page=2&page=${page}`
  const page = async (query: string) =>
    (await api(server, who, 'GET', `/files?sort=-size&${query}`)).body as PageJson
  const summary = ({ data, ...rest }: PageJson) => ({ names: data.map((f) => f.filename), ...rest })
  const meta = { path, per_page: 2, total: 5, last_page: 3 }
  assert.deepEqual(summary(await page('per_page=2')), {
    names: ['f4', 'f3'],
    links: { first: link(1), last: link(3), prev: null, next: link(2) },
    meta: { ...meta, current_page: 1, from: 1, to: 2 },
  })
  assert.deepEqual(summary(await page('page=2&per_page=2')), {
    names: ['f2', 'f1'],
    links: { first: link(1), last: link(3), prev: link(1), next: link(3) },
    meta: { ...meta, current_page: 2, from: 3, to: 4 },
  })
  assert.deepEqual(summary(await page('page[number]=3&page[size]=2')), {
    names: ['f0'],
    links: { first: link(1), last: link(3), prev: link(2), next: null },
    meta: { ...meta, current_page: 3, from: 5, to: 5 },
  })
  assert.deepEqual(summary(await page('page=9&per_page=2')), {
    names: [],
    links: { first: link(1), last: link(3), prev: link(8), next: null },
    meta: { ...meta, current_page: 9, from: null, to: null },
  })
  // The links lead where they say.
  const next = await api(server, who, 'GET', link(2).slice(path.length - '/files'.length))
  assert.deepEqual(next.body, (await page('page=2&per_page=2')) as unknown)
})

test('with a keyword that goes on behind the page the total is not counted', async (t) => {
  const { server, who } = await scene(t)
  await fill(server, who, ...Array.from({ length: 5 }, (_, n): [string, number] => [`abc${n}`, n]))
  await indexAll(server)
  const meta = async (query: string) => {
    const { meta, links } = (await api(server, who, 'GET', `/files?keyword=abc&${query}`))
      .body as PageJson
    return [meta?.total, meta?.last_page, links?.last === null, links?.next === null]
  }
  assert.deepEqual(await meta('per_page=2'), [null, null, true, false])
  assert.deepEqual(await meta('per_page=2&page=3'), [5, 3, false, true])
  assert.deepEqual(await meta('per_page=5'), [5, 1, false, true])
})

test('a page that is no number is refused', async (t) => {
  const { server, who } = await scene(t)
  const cases: [string, Record<string, string[]>][] = [
    ['page=x', { page: ['The page must be an integer.'] }],
    ['page=1.5', { page: ['The page must be an integer.'] }],
    ['page=0', { page: ['The page must be at least 1.'] }],
    ['page=-1', { page: ['The page must be at least 1.'] }],
    ['per_page=0', { per_page: ['The per page must be at least 1.'] }],
    ['per_page=1001', { per_page: ['The per page may not be greater than 1000.'] }],
    ['per_page=1e3', { per_page: ['The per page must be an integer.'] }],
  ]
  for (const [query, errors] of cases) {
    assert.deepEqual(outcome(await api(server, who, 'GET', `/files?${query}`)), invalid(errors))
  }
  assert.equal((await api(server, who, 'GET', '/files?per_page=1000')).status, 200)
  assert.equal((await api(server, who, 'GET', '/files?page=9007199254740')).status, 200)
})

test('the time of a file is that of its owner’s zone, also after she moved', async (t) => {
  const { server } = await scene(t)
  const who = await createOwner(server, 'Vilnius Person', { timeZone: 'Europe/Vilnius' })
  const at = async (instant: string) => {
    server.clock.now = Date.parse(instant)
    return (await uploaded(server, who, instant)).created_at
  }
  assert.equal(await at('2026-01-15T10:00:00Z'), '2026-01-15 12:00:00')
  assert.equal(await at('2026-03-29T00:59:59Z'), '2026-03-29 02:59:59')
  assert.equal(await at('2026-03-29T01:00:00Z'), '2026-03-29 04:00:00')
  assert.equal(await at('2026-05-07T21:18:03Z'), '2026-05-08 00:18:03')
  await server.core.identities.change(who.id, { timeZone: 'America/New_York' })
  assert.deepEqual(
    (await list(server, who)).map((file) => [file.created_at, file.created_by.timezone]),
    [
      ['2026-05-07 17:18:03', 'America/New_York'],
      ['2026-03-28 21:00:00', 'America/New_York'],
      ['2026-03-28 20:59:59', 'America/New_York'],
      ['2026-01-15 05:00:00', 'America/New_York'],
    ],
  )
})

test('a record that was damaged is never shown', async (t) => {
  const { server, who } = await scene(t)
  const { id } = await stored(server, who, 'one')
  await stored(server, who, 'two')
  await tamper(
    server.config,
    `update account_file set sealed = (select sealed from account_file where id != '${id}') where id = '${id}'`,
  )
  const answers: Answer[] = []
  for (const path of ['/files', '/files?per_page=10', `/files/${id}`]) {
    answers.push(await api(server, who, 'GET', path))
  }
  for (const answer of answers) assert.deepEqual(outcome(answer), message(500, 'Server Error'))
})
