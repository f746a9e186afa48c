/**
 * Holdfast on what it stands on where it must not fail, while that fails: two servers over a PostgreSQL
 * with a synchronous standby and a Ceph whose objects lie on two of three disks, under mixed traffic of
 * all dialects. Ends with 1 and says what was lost when anything was; then the files stay.
 *
 *     npm run cluster -- [--minutes 2] [--seed WORD] [--clients 8] [--keep] [--write]
 *
 * `--write` keeps the figures in docs/cluster.md, `--keep` what everything has left. The seed decides
 * what is sent and what is killed. What meets what in time it does not.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { holdfast, type Settings } from '../../e2e/processes.ts'
import { partOf } from '../../faults/page.ts'
import { allTraffic } from '../../faults/soak/kinds.ts'
import { LossError, lossText } from '../../faults/soak/ledger.ts'
import { createPeople } from '../../faults/soak/people.ts'
import { checkRows } from '../../faults/soak/storage.ts'
import type { Traffic } from '../../faults/soak/traffic.ts'
import { loadConfig } from '../../packages/server/src/config.ts'
import { findUntracked, trashUntracked } from '../../packages/server/src/core/blobs/untracked.ts'
import { openS3Store } from '../../packages/server/src/store/blobs/s3/store.ts'
import { openCommandPostgres } from '../../packages/server/src/store/database/postgres.ts'
import { missingForCeph, missingForPostgres, reasonToSkip } from '../packages.ts'
import { createClients } from './clients.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { watchingMemory } from './memory.ts'
import { reportOf } from './report.ts'
import { SERVERS } from './servers.ts'
import { workThrough } from './work.ts'

const PAGE = new URL('../../docs/cluster.md', import.meta.url)
const DAY_MS = 24 * 3600 * 1000
const MOST_MEMORY = 4 * 1024 ** 3

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: randomBytes(4).toString('hex') },
    clients: { type: 'string', default: '8' },
    keep: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const { seed } = values
const milliseconds = Number(values.minutes) * 60_000
const clientCount = Number(values.clients)
if (!(milliseconds > 0 && clientCount > 0)) throw new Error('--minutes and --clients are numbers')

const missing = reasonToSkip([...missingForCeph(), ...missingForPostgres()])
if (missing) {
  console.log(`cluster: cannot run here. Debian packages ${missing}`)
  process.exit(0)
}

console.log(`cluster: seed ${seed}, ${values.minutes} minutes, ${clientCount} clients`)
const cluster = await startCluster()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cluster.close(false).then(() => process.exit(1)))
}
try {
  const report = await prove(cluster)
  console.log(`cluster: nothing was lost\n\n${report}`)
  if (values.write) await partOf(PAGE, 'cluster').write(report)
  await cluster.close(values.keep)
  // Whatever a killed process has left open.
  process.exit(0)
} catch (error) {
  console.log('cluster: FAILED')
  console.log(error instanceof LossError ? lossText(error) : error)
  await cluster.close(true)
  console.log(`  files and logs are kept: ${cluster.folder}`)
  console.log(`  again: npm run cluster -- --minutes ${values.minutes} --seed ${seed}`)
  process.exit(1)
}

async function prove({ settings, servers, ceph, postgres }: Cluster): Promise<string> {
  const clients = createClients(servers)
  const people = await createPeople(settings, clients.ask)
  const kinds = allTraffic(people, seed)
  const work = { seed, clients: clientCount, milliseconds }
  const { result, peaks } = await watchingMemory(
    (treeOf) => ({
      'Holdfast, servers': servers.pids().flatMap(treeOf),
      ...postgres.pids(treeOf),
      ...ceph.pids(),
      'clients and proxies': [process.pid],
    }),
    async () => {
      const begun = performance.now()
      const happenings = await workThrough(cluster, kinds, work)
      const seconds = (performance.now() - begun) / 1000
      const outcomes = [...clients.outcomes]
      console.log('  a look at everything')
      await lookAtAll(kinds)
      return { happenings, seconds, outcomes }
    },
  )
  if (peaks.total > MOST_MEMORY) throw new Error(`${peaks.total} bytes of memory were taken`)

  await servers.stopAll()
  const leftovers = await sweepAndCheck(settings)
  await servers.startAll()
  for (let server = 0; server < SERVERS; server += 1) {
    console.log(`  a look through server ${server}`)
    clients.use(server)
    await lookAtAll(kinds)
  }
  await servers.stopAll()
  return reportOf({ ...work, ...result, kinds, peaks, leftovers })
}

/** Holds everything that was acknowledged against what is there. */
async function lookAtAll(kinds: readonly Traffic[]): Promise<void> {
  for (const kind of kinds) await kind.check()
}

/**
 * While no server runs: the operator's `gc`, the sweep of tomorrow, and `fsck`, which finds nothing.
 *
 * @returns how many objects the sweep of tomorrow takes
 */
async function sweepAndCheck(settings: Settings): Promise<number> {
  const { code, stdout, stderr } = await holdfast(settings, 'gc', '--json')
  if (code !== 0) throw new LossError(`gc ended with ${code}: ${stdout}${stderr}`)
  const leftovers = await sweepOfTomorrow(settings)
  await checkRows(settings)
  return leftovers
}

/**
 * Takes away what crashes have left in the bucket: today it might belong to an upload of another server.
 *
 * @returns how many objects that were
 */
async function sweepOfTomorrow(settings: Settings): Promise<number> {
  const { blobs, postgres } = loadConfig(settings)
  if (!blobs || !postgres) throw new Error('a cluster has a bucket and a PostgreSQL')
  const store = await openS3Store(blobs)
  const database = await openCommandPostgres(postgres)
  try {
    const found = await findUntracked(database, store, () => true)
    if (found.suspicious) throw new LossError(`${found.count} objects have no row`)
    const clock = () => Date.now() + DAY_MS
    await trashUntracked({ database, store, clock }, found.settled)
    return found.count
  } finally {
    await database.close()
    await store.close()
  }
}
