import type { StagedBlob } from '../../src/core/blobs/blobs.ts'
import type { CompanyCaller } from '../../src/core/company-files/records.ts'
import type { Core } from '../../src/core/core.ts'
import { SEALED_TABLES } from '../../src/core/keys/sealed-tables.ts'
import { createOwner, stored } from './account.ts'
import { inPieces, pattern } from './bytes.ts'
import { sendChunk } from './companies.ts'
import { rowsOf, type TestStore } from './store.ts'

const LARGE = 100_000
const CHUNK = 70_000
const MESSAGE = { encrypted: 'Ym9uam91cg', publicKey: 'a2V5' }

/** Puts one of everything into a store, small and large; answers how many rows and parts there are. */
export async function createFullStore(store: TestStore): Promise<{ rows: number; parts: number }> {
  const { core } = store
  const owner = await createOwner(store, 'Ann Author', { pin: '12345678' })
  for (const size of [0, 10, LARGE]) await stored(store, owner, `${size}.txt`, pattern(size))
  const trashed = await stored(store, owner, 'trashed.txt', pattern(LARGE))
  await core.accountFiles.trash(owner.id, trashed.id)
  await fillBox(core, owner.id)
  const company = await core.companies.create({
    name: 'Acme',
    owners: [owner.id],
    managers: [],
    members: [],
  })
  await fillCompany(core, { identityId: owner.id, companyId: company.id })
  let rows = 0
  for (const { name } of SEALED_TABLES) {
    const isAll = name === 'blob' ? '' : 'where sealed is not null'
    rows += await countRows(store, `${name} ${isAll}`)
  }
  return { rows, parts: await countRows(store, 'blob_part') }
}

async function countRows({ config }: TestStore, from: string): Promise<number> {
  const [row] = await rowsOf<{ n: number }>(config, `select count(*) as n from ${from}`)
  return row?.n ?? 0
}

async function fillBox(core: Core, person: string): Promise<void> {
  const box = await core.boxes.create(person, {
    title: 'A box',
    publicKey: MESSAGE.publicKey,
    keyShare: {
      hash: 'aGFzaA',
      misakeyShare: 'c2hhcmU',
      encryptedInvitationKeyShare: 'c2hhcmU',
    },
  })
  const text = await core.boxMessages.sendText(person, box.id, MESSAGE)
  await core.boxMessages.editText(person, box.id, text.id, { ...MESSAGE, encrypted: 'bm9u' })
  for (const size of [10, LARGE]) {
    await core.boxMessages.sendFile(person, box.id, await stage(core, size), MESSAGE)
  }
  const gone = await core.boxMessages.sendFile(person, box.id, await stage(core, LARGE), MESSAGE)
  await core.boxMessages.deleteMessage(person, box.id, gone.id)
  const saved = { encryptedMetadata: 'bWV0YQ', keyFingerprint: 'cHJpbnQ' }
  await core.savedFiles.saveUpload(person, await stage(core, LARGE), saved)
}

/** One whole file, one in three chunks, and one of which a chunk is missing. */
async function fillCompany(core: Core, caller: CompanyCaller): Promise<void> {
  await core.companyFiles.create(caller, { name: 'whole.bin' }, await stage(core, LARGE))
  await fillPreviews(core, caller)
  for (const sent of [3, 2]) {
    const totals = { totalChunks: 3, totalSize: 3 * CHUNK, name: 'chunks.bin' }
    const file = await core.companyUploads.begin(caller, totals)
    for (let number = 1; number <= sent; number += 1) {
      const claim = { ...totals, number }
      await sendChunk(core, caller, file.id, claim, pattern(CHUNK, number))
    }
  }
}

/** A picture with a preview, and one that waits for it. */
async function fillPreviews(core: Core, caller: CompanyCaller): Promise<void> {
  await core.companyFiles.create(caller, { name: 'shown.png' }, await stage(core, 10))
  const job = await core.previewJobs.take('test', 'quick')
  if (!job) throw new Error('there is no job')
  const text = { type: 'image/webp', width: 6, height: 4 }
  await core.previewJobs.finish(job, [{ ...text, staged: await stage(core, LARGE) }])
  await core.companyFiles.create(caller, { name: 'waits.png' }, await stage(core, 10))
}

function stage(core: Core, size: number): Promise<StagedBlob> {
  return core.blobs.stage(inPieces(pattern(size)), Number.POSITIVE_INFINITY)
}
