import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../ports.ts'
import { runScript } from '../scripts.ts'
import { killSurely, processTrees, type TreeOf } from './processes.ts'

/** A PostgreSQL whose commits wait for a second one. */
export interface PostgresPair {
  readonly primaryPort: number
  readonly standbyPort: number
  /** Their processes, by what they began as. */
  pids(treeOf: TreeOf): Record<'postgres, primary' | 'postgres, standby', number[]>
  /** Ends the primary as a crash would and starts it again at once. */
  restart(): Promise<void>
  /** Ends every process of the primary without a word, for good. */
  killPrimary(): void
  /** Makes the standby the primary; it waits for nobody. */
  promote(): Promise<void>
  stop(): Promise<void>
}

/** @param folder for their files, which is made and stays */
export async function startPostgresPair(folder: string): Promise<PostgresPair> {
  const primaryPort = await freePorts()
  const standbyPort = primaryPort + 1
  const primary = join(folder, 'primary')
  const standby = join(folder, 'standby')
  const running = new Set<string>()

  async function start(name: string, place: string, ...words: string[]): Promise<void> {
    await runScript(name, [place, ...words], { FSYNC: 'on' })
    running.add(place)
  }

  function pidsOf(place: string, treeOf: TreeOf): number[] {
    const postmaster = running.has(place) && postmasterOf(place)
    return postmaster ? treeOf(postmaster) : []
  }

  async function stop(): Promise<void> {
    for (const place of running) await runScript('postgres-stop', [place])
    running.clear()
  }

  try {
    await start('postgres-start', primary, String(primaryPort))
    await start('postgres-standby', standby, String(standbyPort), String(primaryPort))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    primaryPort,
    standbyPort,
    pids: (treeOf) => ({
      'postgres, primary': pidsOf(primary, treeOf),
      'postgres, standby': pidsOf(standby, treeOf),
    }),
    restart: () => runScript('postgres-restart', [primary]),
    killPrimary() {
      // The one that began the others goes first, so that it can do nothing for them.
      for (const pid of pidsOf(primary, processTrees())) killSurely(pid)
      running.delete(primary)
    },
    promote: () => runScript('postgres-promote', [standby, String(standbyPort)]),
    stop,
  }
}

/** Undefined while it starts. */
function postmasterOf(place: string): number | undefined {
  try {
    const [pid] = readFileSync(join(place, 'data', 'postmaster.pid'), 'utf8').split('\n')
    return Number(pid)
  } catch {
    return undefined
  }
}
