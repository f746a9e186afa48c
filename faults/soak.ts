/**
 * Random traffic in all dialects against a real server that is killed again and again. Ends with a
 * line of figures when nothing was lost; else says what, with all that was done with it, keeps the
 * data folder, and ends with 1.
 *
 *     npm run soak -- [--minutes 20] [--seed WORD] [--clients 8]
 *
 * The seed decides what is sent and when the server is killed. What meets what in time it does not.
 */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { allTraffic } from './soak/kinds.ts'
import { LossError, lossText } from './soak/ledger.ts'
import { createRandom, type Random } from './soak/random.ts'
import { CutError } from './soak/requests.ts'
import { checkStorage } from './soak/storage.ts'
import { countsText } from './soak/traffic.ts'
import { createWorld, type World } from './soak/world.ts'

/** The server runs so long between two ends, in milliseconds. */
const LEAST_RUN = 500
const LONGEST_RUN = 15_000
/** A server that is asked to stop has this share of all ends; the others are kills. */
const STOPS = 6
/** A command runs beside the server once in so many steps of all clients. */
const STEPS_PER_COMMAND = 150
const COMMANDS: readonly [string[], ...string[][]] = [
  ['token', 'list', '--email', 'ann@example.com'],
  ['keys', 'status'],
  ['keys', 'new-epoch'],
  ['keys', 'rekey'],
  ['scrub'],
  ['gc', '--dry-run'],
]

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string', default: randomBytes(4).toString('hex') },
    clients: { type: 'string', default: '8' },
  },
})
const { seed } = values
const until = Date.now() + Number(values.minutes) * 60_000
console.log(`soak: seed ${seed}, ${values.minutes} minutes, ${values.clients} clients`)

const world = await createWorld()
const kinds = allTraffic(world.people, seed)
const ends = { SIGKILL: 0, SIGTERM: 0 }
try {
  const random = createRandom(seed)
  for (let round = 1; Date.now() < until; round += 1) {
    const clients = Array.from({ length: Number(values.clients) }, (_, client) =>
      runClient(createRandom(`${seed} ${round} ${client}`)),
    )
    const run = random.between(0, LONGEST_RUN) / random.between(1, 5)
    const how = random.onceIn(STOPS) ? 'SIGTERM' : 'SIGKILL'
    // A client that has found a loss ends the wait.
    await Promise.race([sleep(Math.max(LEAST_RUN, run)), ...clients])
    await world.end(how)
    ends[how] += 1
    await Promise.all(clients)
    await world.start()
    await checkAll()
  }
  await endWithout(world)
  report('soak: nothing was lost')
  await world.close()
} catch (error) {
  await world.end('SIGKILL')
  await tellLoss(error)
  process.exitCode = 1
}

/** One client: does one thing after the other until the server ends. */
async function runClient(random: Random): Promise<void> {
  while (!world.isEnding()) {
    try {
      if (random.onceIn(STEPS_PER_COMMAND)) await world.command(...random.pick(COMMANDS))
      else await random.pick(kinds).step(random)
    } catch (error) {
      if (!(error instanceof CutError)) throw error
      if (!world.isEnding() && !gaveUp(error)) {
        throw new LossError(`cut without a reason: ${error.message} ${error.cause}`)
      }
    }
  }
}

function gaveUp({ cause }: CutError): boolean {
  return cause instanceof DOMException
}

async function checkAll(): Promise<void> {
  await checkStorage(world)
  for (const kind of kinds) await kind.check()
}

/** The last end is a clean one, and once more everything is looked at. */
async function endWithout(last: World): Promise<void> {
  await last.end('SIGTERM')
  await last.start()
  await checkAll()
  await last.end('SIGTERM')
}

function report(title: string): void {
  console.log(`${title}: seed ${seed}, ${ends.SIGKILL} kills, ${ends.SIGTERM} stops`)
  for (const kind of kinds) console.log(`  ${countsText(kind)}`)
}

async function tellLoss(error: unknown): Promise<void> {
  report('soak: FAILED')
  console.log(error instanceof LossError ? lossText(error) : error)
  await writeFile(join(world.folder, 'server.log'), world.log())
  console.log(`  the data folder is kept, and the log of the last server: ${world.folder}`)
  console.log(`  again: npm run soak -- --minutes ${values.minutes} --seed ${seed}`)
}
