import assert from 'node:assert/strict'
import { chmod, chown, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { generateIdentity, type Identity } from '@holdfast/seal'
import { createRootKey, RootKeyError, readRootKey } from '../../src/store/root-key.ts'
import { testFolder } from '../helpers/cleanup.ts'

describe('a root key that is made', { concurrency: 4 }, () => {
  for (const kind of ['x25519', 'hybrid'] as const) {
    it(`is an age identity of the kind ${kind} that only its owner can read`, async (t) => {
      const { data, file } = await places(t)
      const made = await createRootKey(file, kind)
      const read = await readRootKey(file, data)
      assert.equal(made.kind, kind)
      assert.equal(`${read}`, `${made}`)
      assert.equal((await stat(file)).mode & 0o777, 0o600)
      assert.equal(
        await readFile(file, 'utf8'),
        `# Holdfast root key\n# public key: ${made.recipient}\n${made}\n`,
      )
    })
  }

  it('never takes the place of a file', async (t) => {
    const { data, file } = await places(t)
    const first = await createRootKey(file, 'x25519')
    await assert.rejects(createRootKey(file, 'x25519'), { code: 'EEXIST' })
    assert.equal(`${await readRootKey(file, data)}`, `${first}`)
  })
})

describe('a root key that is read', { concurrency: 4 }, () => {
  it('may be missing', async (t) => {
    const { data, file } = await places(t)
    assert.equal(await readRootKey(file, data), undefined)
  })

  it('may have comments, blank lines and the line ends of other systems around it', async (t) => {
    const { data, file } = await places(t)
    const key = generateIdentity('x25519')
    await writeKey(file, `# made elsewhere\r\n\r\n  # more\r\n${key}\r\n`)
    assert.equal(`${await readRootKey(file, data)}`, `${key}`)
  })

  for (const text of ['', '# nothing\n', 'AGE-SECRET-KEY-1NOTONE\n', 'age1something\n']) {
    it(`is refused, and not shown, when it is no identity: ${JSON.stringify(text)}`, async (t) => {
      const { data, file } = await places(t)
      await writeKey(file, text)
      await assert.rejects(
        readRootKey(file, data),
        new RootKeyError(`${file} holds no age identity`),
      )
    })
  }

  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o610]) {
    it(`is refused when others have a right to it: ${mode.toString(8)}`, async (t) => {
      const { data, file } = await places(t)
      await createRootKey(file, 'x25519')
      await chmod(file, mode)
      await assert.rejects(
        readRootKey(file, data),
        new RootKeyError(`others can read the root key: run chmod 600 ${file}`),
      )
    })
  }

  it('may be read-only', async (t) => {
    const { data, file } = await places(t)
    const key = await createRootKey(file, 'x25519')
    await chmod(file, 0o400)
    assert.equal(`${await readRootKey(file, data)}`, `${key}`)
  })
})

it('a root key as systemd hands it over: seen as a right of root’s group, whose file it is', async (t) => {
  const { data, file } = await places(t)
  const key = await createRootKey(file, 'x25519')
  await chmod(file, 0o440)
  const isRoot = process.getuid?.() === 0
  if (isRoot) assert.equal(`${await readRootKey(file, data)}`, `${key}`)
  if (isRoot) await chown(file, 1, 0)
  await assert.rejects(readRootKey(file, data), /^RootKeyError: others can read the root key/)
})

describe('a root key inside the data folder', { concurrency: 4 }, () => {
  it('is refused, also in a folder below it and before it is made', async (t) => {
    const { data } = await places(t)
    await mkdir(join(data, 'keys'))
    for (const file of [join(data, 'root.key'), join(data, 'keys', 'root.key')]) {
      await assertInside(file, data)
      await writeKey(file, `${generateIdentity('x25519')}`)
      await assertInside(file, data)
    }
  })

  it('is refused when the path leads there through a link to the folder', async (t) => {
    const { data } = await places(t)
    const link = join(dirname(data), 'elsewhere')
    await symlink(data, link)
    await writeKey(join(data, 'root.key'), `${generateIdentity('x25519')}`)
    await assertInside(join(link, 'root.key'), data)
    await assertInside(join(data, 'root.key'), link)
  })

  it('is refused when a link outside points to it', async (t) => {
    const { data, file } = await places(t)
    await writeKey(join(data, 'root.key'), `${generateIdentity('x25519')}`)
    await symlink(join(data, 'root.key'), file)
    await assertInside(file, data)
  })

  it('is not what lies beside it under a longer name', async (t) => {
    const { data } = await places(t)
    const key: Identity = await createRootKey(`${data}.key`, 'x25519')
    assert.equal(`${await readRootKey(`${data}.key`, data)}`, `${key}`)
  })
})

async function places(t: TestContext): Promise<{ data: string; file: string }> {
  const folder = await testFolder(t)
  const data = join(folder, 'data')
  await mkdir(data)
  return { data, file: join(folder, 'root.key') }
}

async function writeKey(file: string, text: string): Promise<void> {
  await writeFile(file, text, { mode: 0o600 })
}

async function assertInside(file: string, data: string): Promise<void> {
  await assert.rejects(readRootKey(file, data), (error) => {
    assert.ok(error instanceof RootKeyError)
    assert.match(error.message, /^the root key .* lies inside the data folder: move it out/)
    return true
  })
}
