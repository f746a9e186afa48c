import assert from 'node:assert/strict'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { postgresPlace, sqlitePlace } from '../../src/store/database/place.ts'
import { testFolder } from '../helpers/cleanup.ts'

describe('the address of a database', () => {
  it('is the same for each spelling of a folder, whether or not that is there', async (t) => {
    const folder = await testFolder(t)
    await mkdir(join(folder, 'volume'))
    await symlink(join(folder, 'volume'), join(folder, 'link'))
    const addressIn = (data: string) => sqlitePlace(join(folder, data, 'holdfast.db')).address()
    const volume = await addressIn('volume')
    assert.equal(volume, `SQLite in ${folder}/volume`)
    assert.equal(await addressIn('link'), volume)
    const later = await addressIn('volume/new/data')
    assert.equal(later, `SQLite in ${folder}/volume/new/data`)
    assert.equal(await addressIn('link/new/data'), later)
  })

  it('is the same for each spelling of a URL, and has no password in it', async () => {
    const addressOf = (url: string) => postgresPlace({ url, unsafe: false }, 2).address()
    const own = 'PostgreSQL at db.example:5432/files'
    for (const url of [
      'postgres://ann:opensesame@db.example/files',
      'postgresql://DB.example:5432/files?sslmode=disable',
      'postgres:///files?host=db.example',
    ]) {
      assert.equal(await addressOf(url), own)
    }
    assert.equal(await addressOf('postgres://db.example:6432/files'), own.replace('5432', '6432'))
    const socket = await addressOf('postgres:///files?host=/run/Postgres')
    assert.equal(socket, 'PostgreSQL at /run/Postgres:5432/files')
  })
})
