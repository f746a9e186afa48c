/**
 * Somebody changes the keyring, the volume marker or the root key. The next start refuses with a
 * sentence for the operator, before anything is served, and overwrites nothing.
 */
import assert from 'node:assert/strict'
import { copyFile, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { generateIdentity, open, parseIdentity, parseRecipient, seal } from '@holdfast/seal'
import type { Config } from '../../src/config.ts'
import { isMendable } from '../../src/mendable.ts'
import { openForCommand, openForServer } from '../../src/open.ts'
import { testFolder } from '../helpers/cleanup.ts'
import { filesBelow, openStoreOf, temporaryConfig } from '../helpers/store.ts'

const ENTRIES = ['keyring/1.age', 'keyring/1.columns.age', 'keyring/index.age'] as const
const MARKER = 'holdfast-volume.json'

type Change = (bytes: Buffer, store: Attacked) => Promise<Buffer | undefined> | Buffer | undefined

/** A store that was closed, and another one of which the attacker knows everything. */
interface Attacked {
  readonly config: Config
  readonly other: Config
  readonly name: string
}

const CHANGES: Record<string, Change> = {
  'with a bit turned in its header': (bytes) => flipped(bytes, 30),
  'with a bit turned in its middle': (bytes) => flipped(bytes, Math.floor(bytes.length / 2)),
  'with its last bit turned': (bytes) => flipped(bytes, bytes.length - 1),
  'cut in half': (bytes) => bytes.subarray(0, bytes.length / 2),
  'without its last byte': (bytes) => bytes.subarray(0, -1),
  'with a byte more': (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]),
  'of no length': () => Buffer.alloc(0),
  'of zeros': (bytes) => Buffer.alloc(bytes.length),
  'that is gone': () => undefined,
  'of another store': (_bytes, { other, name }) => readFile(join(other.data, name)),
}

const OF_ENTRIES: Record<string, Change> = {
  ...CHANGES,
  'that is another entry of the same keyring': (_bytes, { config, name }) =>
    readFile(join(config.data, ENTRIES.find((entry) => entry !== name) ?? '')),
  'that somebody sealed to the public recipient': async (_bytes, store) => {
    const { root } = JSON.parse(await readFile(join(store.config.data, MARKER), 'utf8'))
    return sealTo(root, `${generateIdentity('x25519')}\n`)
  },
  'that somebody sealed with a comment of another store': async (
    _bytes,
    { config, other, name },
  ) => {
    const { root } = JSON.parse(await readFile(join(config.data, MARKER), 'utf8'))
    const opened = open([await rootOf(other)], await readFile(join(other.data, name)))
    return sealTo(root, Buffer.from(opened).toString())
  },
}

describe('a start after somebody changed what keys hang on', () => {
  let config: Config
  let other: Config
  let pristine: string
  const ends: (() => unknown)[] = []
  // One store for all: each start refuses, and what was changed is put right from a copy.
  before(async () => {
    const t = { after: (step: () => unknown) => ends.push(step) } as never
    config = await temporaryConfig(t)
    other = await temporaryConfig(t)
    for (const each of [config, other]) await (await openStoreOf(t, each)).close()
    pristine = await testFolder(t)
    await cp(config.data, pristine, { recursive: true })
  })
  after(async () => {
    for (const end of ends) await end()
  })

  for (const [names, changes] of [
    [ENTRIES, OF_ENTRIES],
    [[MARKER], CHANGES],
  ] as const) {
    for (const name of names) {
      for (const [what, change] of Object.entries(changes)) {
        // White space at its end is no part of what the marker says.
        if (name === MARKER && /bit turned|byte/.test(what)) continue
        it(`${name} ${what}: refuses and overwrites nothing`, async () => {
          await attack(name, change)
        })
      }
    }
  }

  for (const [what, from, to] of [
    ['another volume', /"volume":"./, '"volume":"x'],
    ['another root', /"root":"age1./, '"root":"age1x'],
    ['another format', /"format":1/, '"format":2'],
  ] as const) {
    it(`${MARKER} that names ${what}: refuses and overwrites nothing`, async () => {
      await attack(MARKER, (bytes) => Buffer.from(bytes.toString().replace(from, to)))
    })
  }

  for (const [what, change] of Object.entries(CHANGES)) {
    // The file is text: the key is its last line, and what follows that is nothing.
    if (/byte more|header/.test(what)) continue
    it(`a root key ${what}: refuses and overwrites nothing`, async () => {
      const key = await readFile(config.rootKeyFile)
      const changed = /another/.test(what)
        ? await readFile(other.rootKeyFile)
        : /last|middle/.test(what)
          ? flipped(key, key.lastIndexOf('1') + 10)
          : await change(key, { config, other, name: '' })
      await put(config.rootKeyFile, changed)
      await assertRefused(config, pristine)
      await put(config.rootKeyFile, key)
    })
  }

  it('that was all put right: starts', async () => {
    const opened = await openForServer(config, Date.now, assert.ifError)
    await opened.close()
  })

  async function attack(name: string, change: Change): Promise<void> {
    const path = join(config.data, name)
    const changed = await change(await readFile(path), { config, other, name })
    await put(path, changed)
    await assertRefused(config, pristine, name)
    await copyFile(join(pristine, name), path)
  }
})

async function put(path: string, bytes: Buffer | undefined): Promise<void> {
  if (bytes) await writeFile(path, bytes, { mode: 0o600 })
  else await rm(path)
}

/** The server and every command refuse, for a reason that is told; all files stay as they were. */
async function assertRefused(config: Config, pristine: string, changed?: string): Promise<void> {
  const left = changed && (await readFile(join(config.data, changed)).catch(() => undefined))
  const keys = await readFile(config.rootKeyFile).catch(() => undefined)
  for (const start of [
    () => openForServer(config, Date.now, assert.ifError),
    () => openForCommand(config, Date.now),
  ]) {
    await assert.rejects(start, (error) => isMendable(error) && error.message.length > 20)
  }
  const files = (await filesBelow(pristine)).filter((name) => /^keyring\/|json$/.test(name))
  for (const name of files) {
    const expected = name === changed ? left : await readFile(join(pristine, name))
    const found = await readFile(join(config.data, name)).catch(() => undefined)
    assert.deepEqual(found, expected, `${name} stayed as it was`)
  }
  assert.deepEqual(await readFile(config.rootKeyFile).catch(() => undefined), keys)
}

function flipped(bytes: Buffer, at: number): Buffer {
  const turned = Buffer.from(bytes)
  turned[at] = (turned[at] ?? 0) ^ 1
  return turned
}

function sealTo(recipient: string, text: string): Buffer {
  return Buffer.from(seal([parseRecipient(recipient)], Buffer.from(text)))
}

async function rootOf({ rootKeyFile }: Config) {
  const lines = (await readFile(rootKeyFile, 'utf8')).trim().split('\n')
  return parseIdentity(lines.at(-1) ?? '')
}
