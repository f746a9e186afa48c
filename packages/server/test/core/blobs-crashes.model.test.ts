import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Config } from '../../src/config.ts'
import type { StoredBlob } from '../../src/core/blobs/blobs.ts'
import type { Core } from '../../src/core/core.ts'
import { CoreError } from '../../src/core/errors.ts'
import { armFailpoints, FAILPOINTS, type Failpoint } from '../../src/core/failpoints.ts'
import { type Opened, openForServer } from '../../src/open.ts'
import { createKeeper, held, LIMIT, link, unlink } from '../helpers/blobs.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { atEnd } from '../helpers/cleanup.ts'
import { createDyingFiles, type DyingFiles } from '../helpers/dying-files.ts'
import { TestClock } from '../helpers/server.ts'
import { type TestStore, temporaryConfig } from '../helpers/store.ts'

const RUNS = Number(process.env.CRASH_RUNS ?? 6)
const SMALL = 5000
const LARGE = 1_200_000

/** Where a crash may come while stored bytes change. */
const STEPS = Object.keys(FAILPOINTS).filter((name) =>
  /^(object|blob|bytes|transaction|sweep)\./.test(name),
) as Failpoint[]

/** What a client knows: content that is there, gone, or either since nobody answered. */
interface Known {
  readonly blob: StoredBlob
  readonly bytes: Buffer
  state: 'kept' | 'gone' | 'open'
}

type Step =
  | { readonly kind: 'store' | 'replace'; readonly size: number; readonly at: number }
  | { readonly kind: 'remove'; readonly at: number }
  | { readonly kind: 'sweep' }

interface Command {
  readonly step: Step
  /** Where the process ends meanwhile, and at which time of passing there. */
  readonly crash: { readonly at: Failpoint; readonly hit: number } | undefined
}

const size = fc.constantFrom(1, SMALL, LARGE)
const at = fc.nat(20)
const command: fc.Arbitrary<Command> = fc.record({
  step: fc.oneof(
    fc.record({ kind: fc.constantFrom('store', 'replace'), size, at }),
    fc.record({ kind: fc.constant('remove'), at }),
    fc.record({ kind: fc.constant('sweep') }),
  ) as fc.Arbitrary<Step>,
  crash: fc.option(
    fc.record({ at: fc.constantFrom(...STEPS), hit: fc.integer({ min: 1, max: 2 }) }),
    { nil: undefined, freq: 2 },
  ),
})

test('whatever is stored, replaced and removed, and wherever it crashes, stored bytes are what a client knows', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 4, maxLength: 10 }), async (commands) => {
      const life = await begin(t)
      const known: Known[] = []
      for (const each of commands) {
        if (await crashes(life, each, known)) await life.reopen()
        await assertKnown(life.core(), known)
      }
      await life.reopen()
      await assertNothingElse(life, known)
      await life.end()
    }),
    { numRuns: RUNS },
  )
})

/** A store in one folder, through the lives of several processes. */
interface Life {
  readonly config: Config
  readonly keeper: string
  core(): Core
  /** Ends the process without a word and starts the next. */
  reopen(): Promise<void>
  end(): Promise<void>
}

async function begin(t: TestContext): Promise<Life> {
  const config = await temporaryConfig(t)
  const clock = new TestClock()
  let dying: DyingFiles
  let opened: Opened | undefined

  async function open(): Promise<void> {
    dying = createDyingFiles()
    opened = await openForServer(config, clock.read, fail, { files: dying.files })
  }
  async function end(): Promise<void> {
    const last = opened
    opened = undefined
    if (!last) return
    await dying.die()
    // Rolls back what was not committed, and lets the lock go.
    await last.close()
  }
  const core = () => (opened as Opened).core
  await open()
  atEnd(t, end)
  const keeper = await createKeeper({ core: core() } as TestStore)
  return {
    config,
    keeper,
    core,
    end,
    async reopen() {
      await end()
      await open()
      await core().sweep(Date.now() + 60_000)
    },
  }
}

function fail(error: Error): void {
  throw error
}

/** @returns whether the process ended within the command */
async function crashes(life: Life, { step, crash }: Command, known: Known[]): Promise<boolean> {
  let hits = 0
  let end: () => void = () => undefined
  const crashed = new Promise<true>((resolve) => {
    end = () => resolve(true)
  })
  armFailpoints((name) => {
    if (name !== crash?.at) return undefined
    hits += 1
    if (hits !== crash.hit) return undefined
    end()
    return new Promise(() => undefined)
  })
  try {
    return await Promise.race([crashed, perform(life, step, known).then(() => false)])
  } finally {
    armFailpoints(undefined)
  }
}

async function perform(life: Life, step: Step, known: Known[]): Promise<void> {
  const core = life.core()
  const kept = known.filter(({ state }) => state === 'kept')
  const chosen = 'at' in step ? kept[step.at % kept.length] : undefined
  if (step.kind === 'sweep') {
    await core.sweep(Date.now() + 60_000)
  } else if (step.kind === 'remove') {
    if (!chosen) return
    chosen.state = 'open'
    await unlink(core.blobs, chosen.blob.id)
    chosen.state = 'gone'
  } else {
    await put(life, step.size, known, step.kind === 'replace' ? chosen : undefined)
  }
}

/** Stores new content, in the place of an older one if there is one. */
async function put(life: Life, size: number, known: Known[], replaced?: Known): Promise<void> {
  const { blobs } = life.core()
  const bytes = pattern(size, known.length + 1)
  const staged = await blobs.stage(inPieces(bytes), LIMIT)
  const added: Known = { blob: { id: staged.id, size }, bytes, state: 'open' }
  known.push(added)
  if (replaced) replaced.state = 'open'
  await blobs.keep(staged, async (writer, changes) => {
    await link(writer, life.keeper, staged.id)
    if (!replaced) return
    await writer.deleteFrom('saved_file').where('blob_id', '=', replaced.blob.id).execute()
    await changes.replace(replaced.blob.id)
  })
  added.state = 'kept'
  if (replaced) replaced.state = 'gone'
}

/** Reads everything, and settles what was open. */
async function assertKnown({ blobs }: Core, known: Known[]): Promise<void> {
  for (const each of known) {
    const read = await collect(blobs.read(each.blob, 0, each.blob.size)).catch((error: unknown) => {
      assert.ok(error instanceof CoreError && error.code === 'file_not_found', `${error}`)
      return undefined
    })
    if (each.state === 'open') each.state = read ? 'kept' : 'gone'
    assert.equal(read !== undefined, each.state === 'kept')
    if (read) assertSameBytes(read, each.bytes)
  }
}

async function assertNothingElse({ config }: Life, known: Known[]): Promise<void> {
  const kept = known.filter(({ state }) => state === 'kept')
  const { blobs, parts, small, files } = await held({ config } as TestStore)
  const inOrder = kept.toSorted((one, other) => (one.blob.id < other.blob.id ? -1 : 1))
  const ids = (size: (bytes: number) => boolean) =>
    inOrder.filter(({ blob }) => size(blob.size)).map(({ blob }) => blob.id)
  assert.deepEqual(
    blobs,
    ids(() => true).map((id) => `${id} stored`),
  )
  assert.deepEqual(
    small,
    ids((bytes) => bytes < LARGE),
  )
  assert.deepEqual(
    parts,
    ids((bytes) => bytes === LARGE).map((id) => `${id}.1`),
  )
  const stored = files.filter((file) => !file.startsWith('trash/'))
  assert.equal(stored.length, parts.length, `${stored}`)
}
