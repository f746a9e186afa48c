import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Finding } from '../../src/core/checks/findings.ts'
import type { Owner } from '../helpers/account.ts'
import { assertSameBytes, collect, pattern } from '../helpers/bytes.ts'
import { breakRows, findingsOf, type StoredFile, storeFile, storeFiles } from '../helpers/checks.ts'
import { filesBelow, openTestStore, rowsOf, type TestStore } from '../helpers/store.ts'
import { flipByte } from '../helpers/stored.ts'

const RUNS = process.env.SLOW === '1' ? 200 : 6
const LARGE = 70_000
const SMALL = 300

interface Scene {
  readonly store: TestStore
  readonly owner: Owner
  /** Nothing happens to it. */
  readonly anchor: StoredFile
}

/** Something that happens to a file behind the server's back. */
interface Damage {
  readonly size: number
  cause(scene: Scene, file: StoredFile): Promise<void>
  /** Kinds, and what each is about. */
  found(file: StoredFile, scene: Scene): string[]
  /** Nobody has it any more: from where a repair may take its content. */
  readonly mayLeave?: 'database' | 'disk'
}

const sql =
  (statement: (file: StoredFile, scene: Scene) => string): Damage['cause'] =>
  (scene, file) =>
    breakRows(scene.store, statement(file, scene))

const unlink = ({ fileId }: StoredFile) => `delete from account_file where id = '${fileId}'`
const markDeleting = ({ blobId }: StoredFile) =>
  `update blob set state = 'deleting' where id = '${blobId}'`
const drift = ({ owner }: Scene) => `drift account_usage ${owner.id}`

/** What can happen to every file, whatever its size. */
const ofRows = (size: number): Record<string, Damage> => ({
  unlinked: {
    size,
    cause: sql(unlink),
    found: ({ blobId }, scene) => [`unlinked blob ${blobId}`, drift(scene)],
    mayLeave: 'database',
  },
  'its link turned': {
    size,
    cause: sql(
      ({ fileId }, { anchor }) =>
        `update account_file set blob_id = '${anchor.blobId}' where id = '${fileId}'`,
    ),
    found: ({ fileId, blobId }) => [`mismatched account_file ${fileId}`, `unlinked blob ${blobId}`],
  },
  'called deleting': {
    size,
    cause: sql(markDeleting),
    found: ({ fileId, blobId }) => [`dangling account_file ${fileId}`, `unfinished blob ${blobId}`],
  },
})

const DAMAGES: readonly [string, Damage][] = [
  ...Object.entries(ofRows(LARGE)),
  ...Object.entries(ofRows(SMALL)),
  ...Object.entries<Damage>({
    'object removed': {
      size: LARGE,
      cause: (_, { path }) => rm(path),
      found: ({ object }) => [`missing ${object}`],
    },
    'object in the trash': {
      size: LARGE,
      async cause({ store }, { path, blobId }) {
        const trash = join(store.config.data, 'trash')
        await mkdir(trash, { recursive: true })
        await rename(path, join(trash, `${blobId}.1.${randomUUID()}`))
      },
      found: ({ object }) => [`missing ${object}`],
    },
    'bit of the header flipped': {
      size: LARGE,
      cause: (_, { path }) => flipByte(path, 100),
      found: ({ object }) => [`mismatched ${object}`],
    },
    truncated: {
      size: LARGE,
      cause: (_, { path }) => truncate(path, 1000),
      found: ({ object }) => [`mismatched ${object}`],
    },
    'part row deleted': {
      size: LARGE,
      cause: sql(({ blobId }) => `delete from blob_part where blob_id = '${blobId}'`),
      found: ({ blobId, object }) => [`missing blob ${blobId}`, `untracked ${object}`],
    },
    'part row changed': {
      size: LARGE,
      cause: sql(({ blobId }) => `update blob_part set plain_size = 1 where blob_id = '${blobId}'`),
      found: ({ blobId }) => [`mismatched blob ${blobId}`, `mismatched blob_part ${blobId}.1`],
    },
    "object beside it that is nobody's": {
      size: LARGE,
      cause: (_, { path }) => writeFile(`${path}.0123456789abcdef`, path),
      found: ({ object }) => [`untracked ${object}.0123456789abcdef`],
    },
    'removal interrupted': {
      size: LARGE,
      cause: sql((file) => `${unlink(file)}; ${markDeleting(file)}`),
      found: ({ blobId }, scene) => [`unfinished blob ${blobId}`, drift(scene)],
      mayLeave: 'disk',
    },
    'content row changed': {
      size: SMALL,
      cause: sql(
        ({ blobId }) =>
          `update small_content set sealed = substr(sealed, 1, 1) where blob_id = '${blobId}'`,
      ),
      found: ({ blobId }) => [`mismatched small_content ${blobId}`],
    },
    'content row deleted': {
      size: SMALL,
      cause: sql(({ blobId }) => `delete from small_content where blob_id = '${blobId}'`),
      found: ({ blobId }) => [`missing blob ${blobId}`],
    },
  }),
]

/** A file is stored; it is deleted again, or left alone, or something happens to it. */
type Fate = 'deleted' | 'left alone' | (typeof DAMAGES)[number]

const fate = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Fate>('deleted') },
  { weight: 2, arbitrary: fc.constant<Fate>('left alone') },
  { weight: 6, arbitrary: fc.constantFrom<Fate[]>(...DAMAGES) },
)

test('fsck finds exactly what was damaged, and a repair never removes the only copy', async (t) => {
  const fates = fc.array(fate, { minLength: 4, maxLength: 10 })
  await fc.assert(
    fc.asyncProperty(fates, (chosen) => holds(t, chosen)),
    { numRuns: RUNS, endOnFailure: true },
  )
})

async function holds(t: TestContext, fates: readonly Fate[]): Promise<void> {
  const store = await openTestStore(t)
  const { owner, files } = await storeFiles(store, SMALL)
  const scene: Scene = { store, owner, anchor: files[0] as StoredFile }
  const well: { file: StoredFile; bytes: Buffer }[] = []
  const mayGo = new Set<string>()
  const expected = new Set<string>()
  const causes: (() => Promise<void>)[] = []
  for (const [index, what] of fates.entries()) {
    const damage = typeof what === 'string' ? undefined : what[1]
    const size = damage?.size ?? (index % 2 ? LARGE : SMALL)
    const bytes = pattern(size, index)
    const file = await storeFile(store, owner, bytes)
    if (what === 'deleted') await store.core.accountFiles.trash(owner.id, file.fileId)
    if (what === 'left alone') well.push({ file, bytes })
    if (!damage) continue
    causes.push(() => damage.cause(scene, file))
    for (const finding of damage.found(file, scene)) expected.add(finding)
    if (damage.mayLeave === 'database') mayGo.add(file.blobId)
    if (damage.mayLeave === 'disk') mayGo.add(digest(await readFile(file.path)))
  }
  for (const cause of causes) await cause()

  const before = await contentsOf(store)
  assert.deepEqual(told(await findingsOf(store)), [...expected].sort(byText))
  assert.deepEqual(await contentsOf(store), before, 'nothing is changed without a repair')
  assert.deepEqual(told(await findingsOf(store, { repair: true })), [...expected].sort(byText))
  const after = await contentsOf(store)
  const lost = [...before].filter((content) => !after.has(content) && !mayGo.has(content))
  assert.deepEqual(lost, [])
  for (const { file, bytes } of well) {
    const { blob } = await store.core.accountFiles.content(owner.id, file.fileId)
    assertSameBytes(await collect(store.core.blobs.read(blob, 0, blob.size)), bytes)
  }
}

function told(findings: readonly Finding[]): string[] {
  return findings
    .map(({ kind, object, table, id }) => `${kind} ${object ?? `${table} ${id}`}`)
    .sort(byText)
}

function byText(one: string, other: string): number {
  return one < other ? -1 : 1
}

/** Digests of all objects, wherever they lie, and the blobs that have content in the database. */
async function contentsOf({ config }: TestStore): Promise<Set<string>> {
  const rows = await rowsOf<{ blob_id: string }>(config, 'select blob_id from small_content')
  const contents = new Set(rows.map(({ blob_id }) => blob_id))
  for (const folder of ['blobs', 'trash', 'quarantine']) {
    const path = join(config.data, folder)
    for (const name of await filesBelow(path))
      contents.add(digest(await readFile(join(path, name))))
  }
  return contents
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
