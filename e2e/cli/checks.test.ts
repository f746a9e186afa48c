import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LARGE, storeFiles } from '../../packages/server/test/helpers/checks.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { openStoreOf, temporaryConfig } from '../../packages/server/test/helpers/store.ts'
import { holdfast, oneObject } from '../processes.ts'

test('fsck, scrub and gc end with 0 when all is well, with 1 when not, and with 2 when they cannot run', async (t) => {
  const config = await temporaryConfig(t)
  const settings = {
    HOLDFAST_DATA: config.data,
    ...(config.postgres && {
      HOLDFAST_DATABASE_URL: config.postgres.url,
      HOLDFAST_UNSAFE_DATABASE: '1',
    }),
  }
  const store = await openStoreOf(t, config)
  const { files } = await storeFiles(store, LARGE, 10)
  const [{ object, path, blobId }] = files as [(typeof files)[number]]

  async function json(...words: string[]): Promise<{ code: number | null; report: object }> {
    const { code, stdout, stderr } = await holdfast(settings, ...words, '--json')
    assert.equal(stderr, '')
    return { code, report: oneObject(stdout) }
  }

  const nothing = { total: 0, counts: {}, findings: [] }
  const none = { objects: 0, bytes: 0 }
  const fsck = {
    ...nothing,
    clean: true,
    repaired: 0,
    stopped: false,
    checked: { rows: 9, objects: 1 },
    deleting: 0,
    trash: none,
    quarantine: none,
    scrub: { started_at: null, finished_at: null, unfinished: false },
  }
  assert.deepEqual(await json('fsck'), { code: 0, report: fsck }, 'beside a server')
  await store.close()
  const scrub = await json('scrub')
  const { started_at, finished_at, ...scrubbed } = scrub.report as Record<string, unknown>
  assert.deepEqual([typeof started_at, typeof finished_at], ['string', 'string'])
  assert.deepEqual(
    [scrub.code, scrubbed],
    [0, { ...nothing, clean: true, checked: { objects: 2, bytes: LARGE + 10 }, resumed: false }],
  )

  const stray = `${object}0`
  await writeFile(join(config.data, stray), 'abc')
  const dryRun = {
    clean: false,
    dry_run: true,
    objects: 2,
    untracked: { objects: 1, bytes: 3 },
    recent: 0,
    trashed: { objects: 1, bytes: 3 },
    removed: none,
    finished: 0,
    stopped: false,
  }
  assert.deepEqual(await json('gc', '--dry-run'), { code: 1, report: dryRun })
  assert.deepEqual(await json('gc'), {
    code: 0,
    report: { ...dryRun, clean: true, dry_run: false },
  })
  await rm(path)
  const { code, report } = await json('fsck')
  assert.deepEqual(
    [code, report],
    [
      1,
      {
        ...fsck,
        clean: false,
        total: 1,
        counts: { missing: 1 },
        findings: [
          {
            kind: 'missing',
            table: 'blob_part',
            id: `${blobId}.1`,
            object,
            text: 'the object is missing',
          },
        ],
        trash: { objects: 1, bytes: 3 },
        scrub: { started_at, finished_at, unfinished: false },
      },
    ],
  )
  const words = await holdfast(settings, 'fsck')
  assert.deepEqual(words, {
    code: 1,
    stdout: `missing  ${object}  the object is missing
1 findings: 1 missing.
9 rows and 1 objects were looked at.
In the trash: 1 objects, 3 bytes.
`,
    stderr: '',
  })
  const empty = { HOLDFAST_DATA: await testFolder(t) }
  for (const words of [
    ['fsck', '--repair'],
    ['scrub', '--rate', 'fast'],
    ['gc', '--grace', '1m'],
  ]) {
    const ended = await holdfast(empty, ...words, '--json')
    assert.match(ended.stderr, /^holdfast: [^\n]+\n$/)
    assert.deepEqual([ended.code, ended.stdout], [2, ''], words.join(' '))
  }
})
