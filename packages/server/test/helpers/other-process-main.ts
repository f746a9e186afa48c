import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { openCommandDatabase } from '../../src/store/database/sqlite.ts'
import { lockFolder } from '../../src/store/folder.ts'
import type { Errand } from './other-process.ts'

const errand = JSON.parse(process.argv[2] ?? '') as Errand

function say(word: 'held' | 'done'): void {
  process.send?.(word)
}

switch (errand.do) {
  case 'hold-folder':
    await lockFolder(errand.data)
    say('held')
    await delay(60_000)
    break

  case 'hold-write-lock': {
    const database = new DatabaseSync(errand.file, { timeout: 10_000 })
    database.exec('begin immediate')
    say('held')
    await delay(errand.milliseconds)
    database.exec('commit')
    database.close()
    say('done')
    break
  }

  case 'commit-rows': {
    const database = await openCommandDatabase(errand.file)
    for (let number = 1; number <= errand.count; number += 1) {
      const row = { key: `command ${number}`, value: 'a row of another process' }
      await database.write((writer) => writer.insertInto('meta').values(row).execute())
    }
    await database.close()
    say('done')
  }
}
process.disconnect?.()
