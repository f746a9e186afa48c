import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { test } from 'node:test'
import { partName } from '../../src/core/blobs/names.ts'
import { createKeeper, held, keep, LIMIT, link } from '../helpers/blobs.ts'
import { stub, systemError } from '../helpers/builtins.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore } from '../helpers/store.ts'

for (const code of ['ENOSPC', 'EIO']) {
  test(`an overwrite whose old bytes the disk does not give up (${code}) keeps the new ones`, async (t) => {
    const store = await openTestStore(t)
    const { blobs } = store.core
    const keeper = await createKeeper(store)
    const before = await keep(store, keeper, pattern(100_000, 1))
    const bytes = pattern(100_000, 2)
    const staged = await blobs.stage(inPieces(bytes), LIMIT)
    let fails = 1
    stub(t, fs, 'unlink', (real) => async (path) => {
      if (fails-- > 0) throw systemError(code)
      return real(path)
    })
    await assertRefused(
      blobs.keep(staged, async (writer, { replace }) => {
        await link(writer, keeper, staged.id)
        await writer.deleteFrom('saved_file').where('blob_id', '=', before.id).execute()
        await replace(before.id)
      }),
      'storage_unavailable',
    )
    assertSameBytes(await collect(blobs.read({ id: staged.id, size: 100_000 }, 0, 100_000)), bytes)

    await store.core.sweep(Date.now())
    const { blobs: left, files } = await held(store)
    assert.deepEqual(left, [`${staged.id} stored`])
    assert.deepEqual(files, [partName(staged.id, 1)])
  })
}
