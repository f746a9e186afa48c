import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CompanyCaller, UploadClaim } from '../../src/core/company-files/records.ts'
import type { Core } from '../../src/core/core.ts'
import { CoreError } from '../../src/core/errors.ts'
import { collect, inPieces, pattern } from '../helpers/bytes.ts'
import { sendChunk } from '../helpers/companies.ts'
import { filesBelow, openTestStore } from '../helpers/store.ts'

const RUNS = process.env.SLOW ? 300 : 30
const LONGEST_CHUNK = 200

/** One request: a chunk of some content, with what it claims. */
interface Step {
  /** From 1; beyond the last for a lie. */
  number: number
  /** Of the bytes; the honest content is that of seed 1. */
  seed: number
  /** What is missing from or added to the honest length. */
  lengthLie: number
  chunksLie: number
  sizeLie: number
  claimsTotals: boolean
  /** Of several steps with the same value the bytes are received before any of them is accepted. */
  together: boolean
}

interface Scenario {
  sizes: number[]
  steps: Step[]
}

const step = (chunks: number): fc.Arbitrary<Step> =>
  fc.record({
    number: fc.integer({ min: 1, max: chunks + 1 }),
    seed: fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.constant(2)),
    lengthLie: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.integer({ min: -2, max: 2 })),
    chunksLie: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.constant(1)),
    sizeLie: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer({ min: -1, max: 1 })),
    claimsTotals: fc.boolean(),
    together: fc.boolean(),
  })

const scenario: fc.Arbitrary<Scenario> = fc
  .array(fc.integer({ min: 0, max: LONGEST_CHUNK }), { minLength: 1, maxLength: 5 })
  .chain((sizes) =>
    fc.record({
      sizes: fc.constant(sizes),
      steps: fc.array(step(sizes.length), { maxLength: 25 }),
    }),
  )

/** What the documents say, in memory. */
class Model {
  readonly #parts = new Map<number, Buffer>()
  #chunks: number | undefined
  #size: number | undefined
  whole: Buffer | undefined

  accept(claim: UploadClaim, bytes: Buffer): 'ok' | CoreError['code'] {
    const number = claim.number ?? 1
    const differs =
      (claim.totalChunks ?? this.#chunks) !== (this.#chunks ?? claim.totalChunks) ||
      (claim.totalSize ?? this.#size) !== (this.#size ?? claim.totalSize)
    if (this.whole) {
      const same = !differs && this.#parts.get(number)?.equals(bytes)
      return same ? 'ok' : 'company_file_forbidden'
    }
    const chunks = this.#chunks ?? claim.totalChunks ?? 1
    const size = this.#size ?? claim.totalSize
    if (differs || number > chunks) return 'upload_mismatch'
    const parts = new Map(this.#parts).set(number, bytes)
    if (parts.size === chunks) {
      const content = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part))
      if (size !== undefined && size !== content.length) return 'upload_mismatch'
      this.whole = content
    }
    this.#parts.set(number, bytes)
    this.#chunks = chunks
    this.#size = this.whole ? this.whole.length : size
    return 'ok'
  }

  get numbers(): number[] {
    return [...this.#parts.keys()].sort((a, b) => a - b)
  }

  sizeOf(number: number): number | undefined {
    return this.#parts.get(number)?.length
  }
}

function requestOf(sizes: number[], step: Step): { claim: UploadClaim; bytes: Buffer } {
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const length = Math.max(0, (sizes[step.number - 1] ?? 3) + step.lengthLie)
  const claim: UploadClaim = {
    number: step.number,
    ...(step.claimsTotals && {
      totalChunks: sizes.length + step.chunksLie,
      totalSize: Math.max(0, total + step.sizeLie),
    }),
  }
  return { claim, bytes: pattern(length, step.number * 10 + step.seed) }
}

/** What a request comes to. Bytes that were refused while they came are not accepted any more. */
async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'ok'
  } catch (error) {
    if (error instanceof CoreError) return error.code
    throw error
  }
}

test('chunks in any order, repeated, of wrong sizes and with lies about totals are answered like the model', async (t) => {
  const { core, config } = await openTestStore(t)
  const caller = await createMember(core)

  await fc.assert(
    fc.asyncProperty(scenario, async ({ sizes, steps }) => {
      const model = new Model()
      const { id } = await core.companyUploads.begin(caller, {})
      let waiting: (() => Promise<void>)[] = []
      for (const step of steps) {
        const { claim, bytes } = requestOf(sizes, step)
        const source = inPieces(bytes, 64)
        const receiving = core.companyChunks.receive(caller, id, claim, source)
        const early = await outcomeOf(receiving)
        async function accept(): Promise<void> {
          if (early !== 'ok') {
            const again = await outcomeOf(sendChunk(core, caller, id, claim, bytes, 64))
            assert.equal(again, model.accept(claim, bytes))
            return
          }
          const accepting = core.companyChunks.accept(caller, id, claim, await receiving)
          assert.equal(await outcomeOf(accepting), model.accept(claim, bytes))
        }
        waiting.push(accept)
        if (step.together) continue
        for (const one of waiting) await one()
        waiting = []
      }
      for (const one of waiting) await one()
      await assertLike(core, caller, id, model)
      await core.companyFiles.remove(caller, id)
      assert.deepEqual(await filesBelow(`${config.data}/blobs`), [])
      assert.deepEqual(await filesBelow(`${config.data}/tmp`), [])
    }),
    { numRuns: RUNS },
  )
})

async function assertLike(core: Core, caller: CompanyCaller, fileId: string, model: Model) {
  const state = await core.companyUploads.state(caller, fileId)
  assert.deepEqual(
    state.chunks.map(({ number, size }) => [number, size]),
    model.numbers.map((number) => [number, model.sizeOf(number)]),
  )
  assert.equal(state.whole, model.whole !== undefined)
  const opening = core.companyFiles.open(caller, fileId)
  if (!model.whole) {
    assert.equal(await outcomeOf(opening), 'company_file_incomplete')
    return
  }
  const { blob, close } = await opening
  assert.deepEqual(await collect(core.blobs.read(blob, 0, blob.size)), model.whole)
  close()
}

async function createMember(core: Core): Promise<CompanyCaller> {
  const { id } = await core.identities.createPerson({ email: 'mia@example.com', name: 'Mia' })
  const company = await core.companies.create({
    name: 'Acme',
    owners: [],
    managers: [],
    members: [id],
  })
  return { identityId: id, companyId: company.id }
}
