/**
 * What each operation costs while one store grows from a thousand files to a million: `npm run bench:growth`.
 *
 * Files are written straight into the database, sealed and indexed as an upload does it, with their
 * content. At each size a server is started as `npm start` starts it and asked over HTTP, by a client in
 * a process of its own, with one connection; then it is stopped, and the commands are run. What bulk
 * writing left in memory is on the disk before anything is timed, and nothing that is timed removes
 * files of the file system.
 *
 * usage: npm run bench:growth -- [--steps 1000,10000,100000,1000000] [--rounds 5] [--json] [--write]
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../../packages/server/src/config.ts'
import { type Scope, testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { machineNow } from '../figures.ts'
import { nameOf } from '../file-names.ts'
import { createAccounts, type FilledFile, openFiller } from '../filler.ts'
import { inScope } from '../scope.ts'
import { runCommands } from './commands.ts'
import { measureServer } from './operations.ts'
import { openPlace, type Place } from './place.ts'
import { type Figures, type Result, report, write } from './report.ts'

const CONTENT = randomBytes(10 * 1024)
/** Of the first thousand the one that a search finds. */
const PLANTED = 500
const SECOND_MS = 1000

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1000,10000,100000,1000000' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})

const result = await inScope(measure)
process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${report(result)}\n`)
if (values.write) await write(result)

async function measure(scope: Scope): Promise<Result> {
  const machine = machineNow()
  const rounds = Number(values.rounds)
  const data = join(await testFolder(scope), 'data')
  const config = loadConfig({ HOLDFAST_DATA: data })
  const [account] = await createAccounts(config, ['growing'])
  if (!account) throw new Error('there is no account')
  const place = openPlace(config, account)
  const empty = await runCommands(place, 0)
  const sizes: Figures[] = []
  let files = 0
  for (const step of values.steps.split(',').map(Number)) {
    await grow(place, files, step)
    files = step
    const served = await measureServer(scope, place, rounds)
    const commands = await runCommands(place, step, empty)
    sizes.push({ files, ...served, ...commands })
    process.stderr.write(`${report({ ...machine, rounds, sizes })}\n`)
  }
  return { ...machine, rounds, sizes }
}

/** Fills up to so many files, and waits until all of it is on the disk. */
async function grow({ config, account }: Place, from: number, to: number): Promise<void> {
  const filler = await openFiller(config)
  const began = Date.now() - to * SECOND_MS
  await filler.fill(account.ownerId, from, to, (index) => describe(index, began))
  await filler.close()
  execFileSync('sync')
}

function describe(index: number, began: number): FilledFile {
  const name = nameOf(index)
  return {
    name: index === PLANTED ? `zebrafish ${name}` : name,
    size: CONTENT.byteLength,
    createdAt: began + index * SECOND_MS,
    content: CONTENT,
  }
}
