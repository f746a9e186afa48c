import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { atEnd } from './cleanup.ts'

/** What another process can be asked to do; `other-process-main.ts` does it. */
export type Errand =
  /** Locks a data folder and keeps it. Says `held`. */
  | { do: 'hold-folder'; data: string }
  /** Holds a database's write lock for so long. Says `held` when it has it and `done` afterwards. */
  | { do: 'hold-write-lock'; file: string; milliseconds: number }
  /** Commits so many rows into `meta`, each in a transaction of its own. Says `done`. */
  | { do: 'commit-rows'; file: string; count: number }

/** Another process with an errand; it is killed when the test ends. */
export interface OtherProcess {
  /** Settles when the process has said `word`; rejects when it ends before. */
  said(word: 'held' | 'done'): Promise<void>
  /** Ends it as `kill -9` does. */
  kill(): Promise<void>
}

export function sendOtherProcess(t: TestContext, errand: Errand): OtherProcess {
  const child = fork(new URL('./other-process-main.ts', import.meta.url), [JSON.stringify(errand)])
  const heard = new Set<unknown>()
  child.on('message', (word) => heard.add(word))
  const exited = once(child, 'exit')
  atEnd(t, () => kill(child, exited))
  return {
    async said(word) {
      while (!heard.has(word)) {
        if (child.exitCode !== null) throw new Error(`${errand.do} ended with ${child.exitCode}`)
        await Promise.race([once(child, 'message'), exited])
      }
    },
    kill: () => kill(child, exited),
  }
}

async function kill(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill('SIGKILL')
  await exited
}
