import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Finding } from '../../src/core/checks/findings.ts'
import { ScrubError } from '../../src/core/checks/scrub.ts'
import {
  breakRows,
  fsckOf,
  LARGE,
  type StoredFile,
  scrubOf,
  storeFile,
  storeFiles,
} from '../helpers/checks.ts'
import { createFullStore } from '../helpers/full-store.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'
import { flipByte } from '../helpers/stored.ts'

const MANY = 700_000
const DAY_MS = 24 * 3600 * 1000

describe('a scrub', { concurrency: 4 }, () => {
  it('opens everything that is stored and finds nothing wrong', async (t) => {
    const store = await openTestStore(t)
    await createFullStore(store)
    const [all] = await rowsOf<{ objects: number; bytes: number }>(
      store.config,
      `select count(*) as objects, sum(bytes) as bytes from (
         select plain_size as bytes from blob_part union all
         select size from small_content join blob on id = blob_id) as content`,
    )
    const { now } = store.clock
    assert.deepEqual(await scrubOf(store), {
      findings: [],
      counts: {},
      total: 0,
      objects: all?.objects,
      bytes: all?.bytes,
      startedAt: now,
      finishedAt: now,
      resumed: false,
    })
    assert.deepEqual((await fsckOf(store)).scrub, {
      startedAt: now,
      finishedAt: now,
      isUnfinished: false,
    })
  })

  it('counts all findings and lists the first', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE, LARGE)
    for (const { path } of files) await rm(path)
    const { findings, counts, total } = await scrubOf(store, { most: 2 })
    assert.deepEqual([findings.length, counts, total], [2, { missing: 3 }, 3])
  })

  it('finds a changed bit in the last chunk, what is missing, and content that does not open', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, MANY, LARGE, 10, LARGE)
    const [changed, lost, small] = files as [StoredFile, StoredFile, StoredFile]
    await flipByte(changed.path, MANY)
    await rm(lost.path)
    await breakRows(
      store,
      `update small_content set sealed = substr(sealed, 1, 1) where blob_id = '${small.blobId}'`,
    )
    const told: Finding[] = []
    const { findings, counts, total } = await scrubOf(store, {
      onFinding: (finding) => told.push(finding),
    })
    const expected: Finding[] = [
      {
        kind: 'damaged',
        table: 'blob_part',
        id: `${changed.blobId}.1`,
        object: changed.object,
        text: `${changed.object}: chunk 10 is not authentic`,
      },
      {
        kind: 'missing',
        table: 'blob_part',
        id: `${lost.blobId}.1`,
        object: lost.object,
        text: 'the object is missing',
      },
      {
        kind: 'mismatched',
        table: 'small_content',
        id: small.blobId,
        text: 'a sealed column is malformed',
      },
    ]
    expected.sort((one, other) => ((one.id ?? '') < (other.id ?? '') ? -1 : 1))
    assert.deepEqual(
      findings.map(({ text: _, ...rest }) => rest),
      expected.map(({ text: _, ...rest }) => rest),
    )
    assert.deepEqual(told, findings)
    assert.deepEqual([counts, total], [{ damaged: 1, missing: 1, mismatched: 1 }, 3])
  })

  it('remembers what it found until a later one finds it well, or it is deleted', async (t) => {
    const store = await openTestStore(t)
    const { owner, files } = await storeFiles(store, LARGE, LARGE)
    const [mended, deleted] = files as [StoredFile, StoredFile]
    const backup = join(store.config.data, '..', 'backup')
    await copyFile(mended.path, backup)
    for (const { path } of files) await flipByte(path, LARGE)
    assert.equal((await scrubOf(store)).total, 2)
    await copyFile(backup, mended.path)
    await store.core.accountFiles.trash(owner.id, deleted.fileId)
    assert.equal((await fsckOf(store)).total, 0)
    assert.equal((await scrubOf(store)).total, 0)
    const [left] = await rowsOf(store.config, 'select count(*) as n from scrub_finding')
    assert.equal(left?.n, 0)
  })

  it('that is interrupted goes on where it was, within a part as well', async (t) => {
    const store = await openTestStore(t)
    const { owner } = await storeFiles(store, 10)
    for (let file = 0; file < 3; file += 1) await storeFile(store, owner, Buffer.alloc(MANY))
    const sizes: number[] = []
    for (let opened = 0; opened < 3 * MANY + 10 && sizes.length < 20; ) {
      const interruption = new AbortController()
      const begun = opened
      const { finishedAt, bytes, resumed } = await scrubOf(store, {
        signal: interruption.signal,
        onOpened(size) {
          opened += size
          if (opened - begun > 500_000) interruption.abort()
        },
      })
      sizes.push(opened - begun)
      assert.deepEqual([bytes, resumed], [opened, begun > 0])
      assert.equal(finishedAt === null, opened < 3 * MANY + 10 || interruption.signal.aborted)
    }
    assert.ok(sizes.length >= 4 && sizes.every((size) => size < 800_000), sizes.join(', '))
  })

  it('begins anew when it is told to', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, MANY)
    await interrupted(store)
    const { resumed, bytes } = await scrubOf(store, { restart: true })
    assert.deepEqual({ resumed, bytes }, { resumed: false, bytes: MANY })
  })

  it('is the only one; one of the background gives way', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, MANY, MANY)
    const interruption = new AbortController()
    const begun = Promise.withResolvers<void>()
    const background = scrubOf(store, {
      background: true,
      rate: 100_000,
      signal: interruption.signal,
      onOpened: () => begun.resolve(),
    })
    await begun.promise
    await assert.rejects(scrubOf(store, { background: true }), ScrubError)
    assert.equal(await store.core.checks.scrub.isDue(), false)
    const { finishedAt, bytes } = await scrubOf(store, { restart: true })
    assert.deepEqual([finishedAt, bytes], [store.clock.now, 2 * MANY])
    interruption.abort()
    assert.equal((await background).finishedAt, null)
    assert.equal((await fsckOf(store)).scrub.finishedAt, finishedAt)
  })

  it('is due when none was, when one was interrupted, and a month after the last', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, MANY)
    const { scrub } = store.core.checks
    assert.equal(await scrub.isDue(), true)
    await scrubOf(store)
    assert.equal(await scrub.isDue(), false)
    await interrupted(store)
    assert.equal(await scrub.isDue(), true)
    await scrubOf(store)
    store.clock.advance(30 * DAY_MS - 1)
    assert.equal(await scrub.isDue(), false)
    store.clock.advance(1)
    assert.equal(await scrub.isDue(), true)
  })

  it('whose process was killed is forgotten after a minute', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, LARGE)
    await scrubOf(store)
    const lease = { holder: randomUUID(), until: store.clock.now + 60_000, background: false }
    const [{ value } = { value: '{}' }] = await rowsOf<{ value: string }>(
      store.config,
      `select value from meta where key = 'scrub'`,
    )
    await tamper(
      store.config,
      `update meta set value = ? where key = 'scrub'`,
      JSON.stringify({ ...JSON.parse(value), lease }),
    )
    await assert.rejects(scrubOf(store), ScrubError)
    store.clock.advance(60_000)
    assert.equal((await scrubOf(store)).total, 0)
  })

  it('takes uploads and deletions meanwhile for what they are', async (t) => {
    const store = await openTestStore(t)
    const { owner, files } = await storeFiles(store, ...Array.from({ length: 12 }, () => LARGE))
    const ending = new AbortController()
    async function change(): Promise<void> {
      const mine = files.splice(0, 6)
      while (!ending.signal.aborted) {
        const next = mine.shift()
        if (next) await store.core.accountFiles.trash(owner.id, next.fileId)
        mine.push(await storeFile(store, owner, Buffer.alloc(LARGE)))
      }
    }
    const changing = Promise.all([change(), change()])
    try {
      for (let pass = 0; pass < 5; pass += 1) assert.equal((await scrubOf(store)).total, 0)
    } finally {
      ending.abort()
      await changing
    }
  })
})

/** Begins a scrub and stops it after its first bytes. */
async function interrupted(store: TestStore): Promise<void> {
  const interruption = new AbortController()
  const { finishedAt } = await scrubOf(store, {
    signal: interruption.signal,
    onOpened: () => interruption.abort(),
  })
  assert.equal(finishedAt, null)
}
