import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { copyFile, mkdir, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { accountFileColumn } from '../../src/core/account-files/files.ts'
import { LINKING_TABLES } from '../../src/core/blobs/links.ts'
import type { Finding } from '../../src/core/checks/findings.ts'
import { SEALED_TABLES, type SealedTable } from '../../src/core/keys/sealed-tables.ts'
import { openForCommand } from '../../src/open.ts'
import {
  breakRows,
  DAY_MS,
  findingsOf,
  fsckOf,
  LARGE,
  type StoredFile,
  scrubOf,
  setAside,
  sorted,
  storeFile,
  storeFiles,
} from '../helpers/checks.ts'
import { createFullStore } from '../helpers/full-store.ts'
import { keyringOf } from '../helpers/keyring.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'
import { flipByte, swapFiles } from '../helpers/stored.ts'

const NOTHING_SET_ASIDE = { objects: 0, bytes: 0 }

describe('fsck', { concurrency: 4 }, () => {
  it('finds nothing wrong with a store in which everything is of use', async (t) => {
    const store = await openTestStore(t)
    const { parts, rows } = await createFullStore(store)
    assert.deepEqual(await fsckOf(store), {
      findings: [],
      counts: {},
      total: 0,
      repaired: 0,
      checked: { rows, objects: parts },
      stopped: false,
      deleting: 0,
      trash: NOTHING_SET_ASIDE,
      quarantine: NOTHING_SET_ASIDE,
      scrub: { startedAt: null, finishedAt: null, isUnfinished: false },
    })
  })

  it('finds an object that is missing; a repair brings it back if it was set aside', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE, LARGE)
    const [lost, trashed, quarantined] = files as [StoredFile, StoredFile, StoredFile]
    await rm(lost.path)
    for (const [{ path, blobId }, folder] of [
      [trashed, 'trash'],
      [quarantined, 'quarantine'],
    ] as const) {
      await mkdir(join(store.config.data, folder))
      await rename(path, join(store.config.data, folder, `${blobId}.1.${randomUUID()}`))
    }
    assert.deepEqual(await findingsOf(store), sorted(files.map(missing)))
    const repaired = await findingsOf(store, { repair: true })
    assert.deepEqual(
      repaired,
      sorted([
        missing(lost),
        { ...missing(trashed), repair: 'restored' },
        { ...missing(quarantined), repair: 'restored' },
      ]),
    )
    assert.deepEqual(await findingsOf(store), [missing(lost)])
    assert.deepEqual(await setAside(store, 'trash'), [])
    assert.deepEqual(await setAside(store, 'quarantine'), [])
  })

  it('does not take a damaged copy for the missing object', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE)
    const [file] = files as [StoredFile]
    const aside = join(store.config.data, 'trash', `${file.blobId}.1.${randomUUID()}`)
    await mkdir(join(store.config.data, 'trash'))
    await rename(file.path, aside)
    await flipByte(aside, LARGE)
    assert.deepEqual(await findingsOf(store, { repair: true }), [missing(file)])
    assert.equal((await setAside(store, 'trash')).length, 1)
  })

  it('finds objects that are not what their rows say; a repair moves them to quarantine', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE, LARGE, LARGE)
    const [short, flipped, one, other] = files as [StoredFile, StoredFile, StoredFile, StoredFile]
    await truncate(short.path, 70_000)
    await flipByte(flipped.path, 100)
    await swapFiles(one.path, other.path)
    const expected = sorted([
      mismatched(short, 'a stored object does not have its size'),
      mismatched(flipped, `${flipped.object}: header MAC does not match`),
      mismatched(one, 'a stored object is not the one that was written'),
      mismatched(other, 'a stored object is not the one that was written'),
    ])
    const found = await findingsOf(store)
    assert.deepEqual(
      found.map(({ text: _, ...rest }) => rest),
      expected.map(({ text: _, ...rest }) => rest),
    )
    assert.deepEqual(
      await findingsOf(store, { repair: true }),
      found.map((finding) => ({ ...finding, repair: 'quarantined' })),
    )
    assert.deepEqual(await setAside(store, 'quarantine'), objectNames(files))
    assert.deepEqual(await findingsOf(store), sorted(files.map(missing)))
  })

  it('is content again when a good copy is put at its name', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE)
    const [file] = files as [StoredFile]
    const backup = join(store.config.data, '..', 'backup')
    await copyFile(file.path, backup)
    await flipByte(file.path, 100)
    assert.equal((await fsckOf(store, { repair: true })).repaired, 1)
    await copyFile(backup, file.path)
    const { total, quarantine } = await fsckOf(store)
    assert.deepEqual({ total, objects: quarantine.objects }, { total: 0, objects: 1 })
  })

  it('finds objects that no row names; a repair moves them to the trash', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE)
    const [file] = files as [StoredFile]
    const name = `${file.object.slice(0, 9)}${randomUUID()}.1`
    await writeFile(join(store.config.data, name), 'abc')
    const finding = { kind: 'untracked', object: name, text: 'no row names it; 3 bytes' } as const
    assert.deepEqual(await findingsOf(store), [finding])
    assert.deepEqual(await findingsOf(store, { repair: true }), [{ ...finding, repair: 'trashed' }])
    const { total, trash } = await fsckOf(store)
    assert.deepEqual({ total, trash }, { total: 0, trash: { objects: 1, bytes: 3 } })
  })

  it('beside a server says what has no row for long, and a repair leaves what is young', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE)
    const [file] = files as [StoredFile]
    const name = `${file.object.slice(0, 9)}${randomUUID()}.1`
    await writeFile(join(store.config.data, name), 'abc')
    const finding = { kind: 'untracked', object: name, text: 'no row names it; 3 bytes' }
    assert.deepEqual(await findingsOf(store, { served: true, settle: 1, repair: true }), [finding])
    assert.deepEqual(await setAside(store, 'trash'), [])
  })

  it('leaves everything when suspiciously many objects have no row', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE)
    const [file] = files as [StoredFile]
    await Promise.all(
      Array.from({ length: 101 }, (_, index) => writeFile(`${file.path}${index}`, 'x')),
    )
    const { counts, repaired, stopped } = await fsckOf(store, { repair: true, most: 3 })
    assert.deepEqual(
      { counts, repaired, stopped },
      { counts: { untracked: 101 }, repaired: 0, stopped: true },
    )
  })

  it('finds rows that are not what was sealed, and leaves their objects alone', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE, LARGE, LARGE, 10, 10)
    const [size, seal, count, whole, small, smallSize] = files.map(({ blobId }) => blobId)
    await breakRows(
      store,
      `update blob_part set plain_size = 1 where blob_id = '${size}'`,
      `update blob_part set sealed = (select sealed from blob_part where blob_id = '${size}')
         where blob_id = '${seal}'`,
      `update blob_part set number = 2 where blob_id = '${count}'`,
      `update blob set sealed = (select sealed from blob where id = '${count}')
         where id = '${whole}'`,
      `update small_content set sealed = substr(sealed, 1, 1) where blob_id = '${small}'`,
      `update blob set size = 11 where id = '${smallSize}'`,
    )
    const row = (table: string, id: string, text: string): Finding => ({
      kind: 'mismatched',
      table,
      id,
      text,
    })
    const elsewhere = (table: string, id: string): Finding =>
      row(table, id, `the sealed value of ${table} ${id} does not belong there`)
    const [first] = files
    const expected = sorted([
      row('blob', `${size}`, 'the parts do not add up'),
      row('blob_part', `${size}.1`, `the row of ${first?.object} does not match what was sealed`),
      elsewhere('blob_part', `${seal}.1`),
      row('blob', `${count}`, 'a blob does not have all its parts'),
      elsewhere('blob_part', `${count}.2`),
      elsewhere('blob', `${whole}`),
      row('small_content', `${small}`, `the sealed value of small_content ${small} is malformed`),
      row('small_content', `${smallSize}`, 'a size does not match'),
    ])
    assert.deepEqual(await findingsOf(store), expected)
    assert.deepEqual(await findingsOf(store, { repair: true }), expected)
    assert.deepEqual(await setAside(store, 'quarantine'), [])
  })

  it('finds blobs that have too much or nothing at all', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, 10)
    const [both, nothing] = files.map(({ blobId }) => blobId)
    await breakRows(
      store,
      `insert into small_content (blob_id, sealed)
        select '${both}', substr(sealed, 1, 1) from small_content`,
      `delete from small_content where blob_id = '${nothing}'`,
    )
    assert.deepEqual(
      await findingsOf(store),
      sorted([
        {
          kind: 'mismatched',
          table: 'blob',
          id: `${both}`,
          text: 'a blob has content in the database and parts',
        },
        {
          kind: 'mismatched',
          table: 'small_content',
          id: `${both}`,
          text: `the sealed value of small_content ${both} is malformed`,
        },
        {
          kind: 'missing',
          table: 'blob',
          id: `${nothing}`,
          text: 'a blob has neither content nor parts',
        },
      ]),
    )
  })

  it('opens every sealed column of every table', async (t) => {
    const store = await openTestStore(t)
    await createFullStore(store)
    for (const table of SEALED_TABLES) {
      const { name } = table
      if (['blob', 'blob_part', 'small_content'].includes(name)) continue
      await flipSealed(store, table)
      const found = await findingsOf(store)
      assert.deepEqual(
        found.map(({ kind, table }) => ({ kind, table })),
        [{ kind: 'mismatched', table: name }],
      )
      await flipSealed(store, table)
    }
    assert.deepEqual(await findingsOf(store), [])
  })

  it('finds what is sealed for an epoch that is not in the keyring', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, 10)
    const [large, small] = files as [StoredFile, StoredFile]
    await breakRows(store, `update blob_part set epoch = 7 where blob_id = '${large.blobId}'`)
    const [{ sealed } = { sealed: Buffer.of() }] = await rowsOf<{ sealed: Uint8Array }>(
      store.config,
      'select sealed from small_content',
    )
    await tamper(
      store.config,
      'update small_content set sealed = ? where blob_id = ?',
      Buffer.concat([Buffer.of(1, 0, 0, 0, 9), sealed.subarray(5)]),
      small.blobId,
    )
    assert.deepEqual(
      await findingsOf(store, { repair: true }),
      sorted([
        {
          kind: 'unknown_epoch',
          table: 'blob_part',
          id: `${large.blobId}.1`,
          object: large.object,
          text: 'epoch 7 is not in the keyring',
        },
        {
          kind: 'unknown_epoch',
          table: 'small_content',
          id: small.blobId,
          text: 'epoch 9 is not in the keyring',
        },
      ]),
    )
  })

  it('finds blobs that nothing links to; a repair moves their bytes to the trash', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, 10)
    await breakRows(store, 'delete from account_file', 'delete from account_usage')
    const unlinked = files.map(
      ({ blobId: id }): Finding => ({
        kind: 'unlinked',
        table: 'blob',
        id,
        text: 'nothing links to it',
      }),
    )
    assert.deepEqual(await findingsOf(store), sorted(unlinked))
    const repaired = unlinked.map((finding): Finding => ({ ...finding, repair: 'trashed' }))
    assert.deepEqual(await findingsOf(store, { repair: true }), sorted(repaired))
    assert.deepEqual(await findingsOf(store), [])
    const inTrash = await setAside(store, 'trash')
    assert.deepEqual(
      inTrash.map((name) => name.slice(0, 38)),
      objectNames(files),
    )
  })

  it('leaves an unlinked blob whose content does not open where it is', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, 10)
    await breakRows(
      store,
      'delete from account_file',
      'delete from account_usage',
      `update small_content set sealed = substr(sealed, 1, 1)`,
    )
    const before = await findingsOf(store)
    assert.deepEqual(
      before.map(({ kind }) => kind),
      ['mismatched', 'unlinked'],
    )
    assert.deepEqual(await findingsOf(store, { repair: true }), before)
    assert.deepEqual(await findingsOf(store), before)
  })

  it('finds links to blobs that are not there', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, 10)
    const [going, gone] = files as [StoredFile, StoredFile]
    await breakRows(
      store,
      `update blob set state = 'deleting' where id = '${going.blobId}'`,
      `delete from small_content where blob_id = '${gone.blobId}'`,
      `delete from blob where id = '${gone.blobId}'`,
    )
    const dangling = [going, gone].map(
      ({ fileId: id }): Finding => ({
        kind: 'dangling',
        table: 'account_file',
        id,
        text: 'its blob is not there',
      }),
    )
    const deleting: Finding = {
      kind: 'unfinished',
      table: 'blob',
      id: going.blobId,
      text: 'its removal was interrupted',
    }
    assert.deepEqual(await findingsOf(store), sorted([...dangling, deleting]))
  })

  it('finds links that were turned to another blob; a repair leaves what they were made for', async (t) => {
    const store = await openTestStore(t)
    await createFullStore(store)
    for (const { name } of LINKING_TABLES) {
      const { was, now, turnBack } = await turnLink(store, name)
      const found = await findingsOf(store)
      assert.deepEqual(
        found.map(({ kind, table, text }) => [kind, table, text]),
        [
          // An upload links to a blob that is not yet whole.
          ...(name === 'company_upload' ? [['dangling', name, 'its blob is not there']] : []),
          ['mismatched', name, `a row links to blob ${now}, which is not the one it was made for`],
          ['unlinked', 'blob', 'nothing links to it'],
        ],
      )
      assert.equal(found.at(-1)?.id, was)
      assert.deepEqual(await findingsOf(store, { repair: true }), found)
      await turnBack()
    }
    assert.deepEqual(await findingsOf(store), [])
  })

  it('takes a row that was sealed before it named its blob as it is', async (t) => {
    const store = await openTestStore(t)
    const { owner, files } = await storeFiles(store, 10)
    const [{ fileId }] = files as [StoredFile]
    const column = accountFileColumn(await keyringOf(store.config))
    const read = 'select sealed from account_file'
    const [row] = await rowsOf<{ sealed: Uint8Array }>(store.config, read)
    const { blobId: _, ...text } = column.open(fileId, owner.id, row?.sealed ?? Buffer.alloc(0))
    const sealed = column.seal(fileId, owner.id, text)
    await tamper(store.config, 'update account_file set sealed = ?', sealed)
    assert.deepEqual(await findingsOf(store), [])
  })

  it('finds totals that have drifted, and adds them up again', async (t) => {
    const store = await openTestStore(t)
    await createFullStore(store)
    const totals = async () => [
      ...(await rowsOf(store.config, 'select * from account_usage')),
      ...(await rowsOf(store.config, 'select id, used_bytes, last_event from box')),
    ]
    const before = await totals()
    await breakRows(
      store,
      'update account_usage set bytes = bytes + 1',
      'update box set used_bytes = 0, last_event = last_event - 1',
    )
    const [{ owner_id: owner }, { id: box }] = before as [
      Record<string, string>,
      Record<string, string>,
    ]
    const drift = (table: string, id: string | undefined, text: string): Finding => ({
      kind: 'drift',
      table,
      id: `${id}`,
      text,
    })
    const expected = [
      drift('account_usage', owner, 'the totals are not those of the account files'),
      drift('box', box, 'the used bytes are not those of the events'),
      drift('box', box, 'the last event is not that of the events'),
    ]
    assert.deepEqual(await findingsOf(store), expected)
    assert.deepEqual(
      await findingsOf(store, { repair: true }),
      expected.map((finding) => ({ ...finding, repair: 'recomputed' })),
    )
    assert.deepEqual(await totals(), before)
    assert.deepEqual(await findingsOf(store), [])
  })

  it('finds what a crash interrupted, and finishes it', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE)
    const [going] = files as [StoredFile]
    await breakRows(
      store,
      `delete from account_file where id = '${going.fileId}'`,
      `update account_usage set files = 1, bytes = ${LARGE}`,
      `update blob set state = 'deleting' where id = '${going.blobId}'`,
    )
    await writeFile(join(store.config.data, 'tmp', 'never-ended'), 'abc')
    const removal: Finding = {
      kind: 'unfinished',
      table: 'blob',
      id: going.blobId,
      text: 'its removal was interrupted',
    }
    const upload: Finding = {
      kind: 'unfinished',
      object: 'tmp/never-ended',
      text: 'an upload that never ended; 3 bytes',
    }
    assert.deepEqual(await findingsOf(store), sorted([removal, upload]))
    const beside = await fsckOf(store, { served: true, settle: 1, repair: true })
    assert.deepEqual([beside.total, beside.deleting], [0, 1], 'a server does this by itself')
    assert.deepEqual(
      await findingsOf(store, { repair: true }),
      sorted([
        { ...removal, repair: 'finished' },
        { ...upload, repair: 'removed' },
      ]),
    )
    const after = await fsckOf(store)
    assert.deepEqual([after.total, after.checked.objects], [0, 1])
  })

  it('tells what scrubs found and still does not open; a repair takes a better copy', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, LARGE, LARGE)
    const [file, other] = files as [StoredFile, StoredFile]
    await mkdir(join(store.config.data, 'trash'))
    const copy = join(store.config.data, 'trash', `${other.blobId}.1.${randomUUID()}`)
    await copyFile(other.path, copy)
    for (const { path } of files) await flipByte(path, LARGE)
    assert.deepEqual(await findingsOf(store), [], 'content is not looked at')
    await scrubOf(store)
    const found = await findingsOf(store)
    assert.deepEqual(
      new Set(found.map(({ kind, object }) => `${kind} ${object}`)),
      new Set(files.map(({ object }) => `damaged ${object}`)),
    )
    assert.deepEqual(
      (await findingsOf(store, { repair: true })).map(({ object, repair }) => [object, repair]),
      sorted(found).map(({ object }) => [object, object === other.object ? 'restored' : undefined]),
    )
    assert.deepEqual(
      (await findingsOf(store)).map(({ object }) => object),
      [file.object],
    )
    assert.deepEqual(await setAside(store, 'quarantine'), [`${other.blobId}.1`])
  })

  it('passes on what the database finds wrong with itself', async (t) => {
    const store = await openTestStore(t)
    const { owner } = await storeFiles(store, 10)
    await breakRows(store, `update api_token set identity_id = '${randomUUID()}'`)
    const found = await findingsOf(store)
    assert.deepEqual(
      found.map(({ kind, table, text }) => [kind, table ?? text]),
      [
        // PostgreSQL holds references itself.
        ...(store.config.postgres
          ? []
          : [['database', 'row 1 of api_token names a identity that is not there']]),
        ['mismatched', 'api_token'],
      ],
    )
    assert.notEqual(owner.id, '')
  })

  it('takes uploads and deletions meanwhile for what they are', async (t) => {
    const store = await openTestStore(t)
    const { owner, files } = await storeFiles(store, ...Array.from({ length: 12 }, () => LARGE))
    const ending = new AbortController()
    let changes = 0
    async function change(): Promise<void> {
      const mine = files.splice(0, 4)
      while (!ending.signal.aborted) {
        const next = mine.shift()
        if (next) await store.core.accountFiles.trash(owner.id, next.fileId)
        mine.push(await storeFile(store, owner, Buffer.alloc(changes % 2 ? LARGE : 10)))
        changes += 1
      }
    }
    const changing = Promise.all([change(), change(), change()])
    const command = await openForCommand(store.config, Date.now)
    try {
      assert.equal(command.served, true)
      const options = { served: true, grace: DAY_MS, repair: true, most: 1000, settle: 500 }
      for (let run = 0; run < 8 || changes <= 10; run += 1) {
        const { findings, stopped } = await command.core.checks.fsck(options)
        assert.deepEqual({ findings, stopped }, { findings: [], stopped: false })
      }
    } finally {
      ending.abort()
      await changing
      await command.close()
    }
    assert.deepEqual(await findingsOf(store), [])
  })

  it('counts all findings and lists the first', async (t) => {
    const store = await openTestStore(t)
    const { files } = await storeFiles(store, ...Array.from({ length: 5 }, () => LARGE))
    for (const { path } of files) await rm(path)
    const { findings, counts, total } = await fsckOf(store, { most: 2 })
    assert.deepEqual([findings.length, counts, total], [2, { missing: 5 }, 5])
  })

  it('tells nothing of names and content', async (t) => {
    const store = await openTestStore(t)
    const { owner, files } = await storeFiles(store, LARGE, 10)
    for (const { path } of files) await rm(path, { force: true })
    await breakRows(
      store,
      `update account_file set sealed = substr(sealed, 1, 1)`,
      `update identity set sealed = substr(sealed, 1, 1)`,
    )
    const text = JSON.stringify(await fsckOf(store))
    for (const word of ['file.bin', owner.email, 'Author']) assert.ok(!text.includes(word), word)
  })
})

/** Changes a bit of the first sealed value of a table; changes it back the second time. */
async function flipSealed({ config }: TestStore, { name, key }: SealedTable): Promise<void> {
  const [{ sealed: before } = { sealed: Buffer.of() }] = await rowsOf<{ sealed: Uint8Array }>(
    config,
    `select sealed from ${name} where sealed is not null order by ${key.join()} limit 1`,
  )
  const sealed = Buffer.from(before)
  sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 1
  await tamper(config, `update ${name} set sealed = ? where sealed = ?`, sealed, before)
}

/** Gives a row of a table a blob that another table links to. */
async function turnLink(
  { config }: TestStore,
  table: string,
): Promise<{ was: string; now: string; turnBack(): Promise<void> }> {
  const [row] = await rowsOf<{ was: string; now: string }>(
    config,
    `select max(blob_id) as was, (select id from blob where state = 'stored'
       and id not in (select blob_id from ${table} where blob_id is not null) limit 1) as now
     from ${table}`,
  )
  const { was = '', now = '' } = row ?? {}
  const turn = (from: string, to: string) =>
    tamper(config, `update ${table} set blob_id = ? where blob_id = ?`, to, from)
  await turn(was, now)
  return { was, now, turnBack: () => turn(now, was) }
}

/** The last parts of their names, sorted. */
function objectNames(files: readonly StoredFile[]): string[] {
  return files.map(({ blobId }) => `${blobId}.1`).sort(compare)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : 1
}

function missing({ blobId, object }: StoredFile): Finding {
  const text = 'the object is missing'
  return { kind: 'missing', table: 'blob_part', id: `${blobId}.1`, object, text }
}

function mismatched({ blobId, object }: StoredFile, text: string): Finding {
  return { kind: 'mismatched', table: 'blob_part', id: `${blobId}.1`, object, text }
}
