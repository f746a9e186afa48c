/**
 * Proves the way out: what is stored can be read back with the key file and the stock `age` tool
 * alone, without Holdfast and without its database. The root key opens the epoch's identity, which
 * opens the file; out come exactly the uploaded bytes.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { blobFile, startPlace, upload } from './server-process.ts'
import { hasTool } from './tools.ts'

const MIB = 1024 * 1024

test('the stock age tool opens what is stored', async (t) => {
  if (!hasTool(t, 'age')) return
  const place = await startPlace(t)
  const contents = [65_537, 131_072, MIB, 8 * MIB].map((size) => randomBytes(size))
  const files = await Promise.all(contents.map((bytes) => upload(place, bytes)))
  await place.server.stop()

  const epoch = join(dirname(place.data), 'epoch.key')
  const identity = await ageDecrypt(`${place.data}.key`, join(place.data, 'keyring', '1.age'))
  assert.match(identity.toString(), /^# keyring\/1\.age [\w-]{43}\nAGE-SECRET-KEY-1\w+\n$/)
  await writeFile(epoch, identity, { mode: 0o600 })
  for (const [index, { fileId }] of files.entries()) {
    assert.deepEqual(await ageDecrypt(epoch, blobFile(place, fileId)), contents[index])
  }
})

async function ageDecrypt(identityFile: string, sealedFile: string): Promise<Buffer> {
  const { stdout } = await promisify(execFile)('age', ['-d', '-i', identityFile, sealedFile], {
    encoding: 'buffer',
    maxBuffer: 16 * MIB,
  })
  return stdout
}
