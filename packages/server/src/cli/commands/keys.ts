import { setTimeout as delay } from 'node:timers/promises'
import { Presets, SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { loadConfig } from '../../config.ts'
import type { Core } from '../../core/core.ts'
import { ANNOUNCED_FOR_MS } from '../../core/keys/epochs.ts'
import type { RekeyReport } from '../../core/rekey/rekey.ts'
import { changeRootKey } from '../../new-root.ts'
import { createCommand, createGroup, EXIT_FINDINGS, print, type Run } from '../run.ts'

/**
 * @param run opens the store as for any command
 * @param runAlone the same for commands that change the keyring, of which one runs at a time
 * @param onLost told when such a command may not be alone any more
 */
export function keysCommand(run: Run, runAlone: Run, onLost: (error: Error) => void): Command {
  return createGroup('keys', 'the root key and the epochs', [
    statusCommand(run),
    newEpochCommand(runAlone),
    rekeyCommand(runAlone),
    newRootCommand(onLost),
  ])
}

function statusCommand(run: Run): Command {
  return createCommand('status', 'the root key, the epochs, and how much each still seals').action(
    (_options: unknown, command: Command) =>
      run(command, status, ({ root, epochs }) =>
        [`Root key ${root.recipient} (${root.kind})`, ...epochs.map(inWords)].join('\n'),
      ),
  )
}

async function status({ epochs, rekey }: Core) {
  const usage = await rekey.usage()
  const records = new Map((await epochs.list()).map((record) => [record.number, record]))
  const numbers = [...new Set([...records.keys(), ...usage.keys()])].sort((a, b) => a - b)
  const known = numbers.map((number) => {
    const record = records.get(number)
    const sealed = usage.get(number)
    return {
      epoch: number,
      state: record?.state ?? 'unknown',
      kind: record?.kind ?? null,
      created_at: record ? new Date(record.createdAt).toISOString() : null,
      parts: sealed?.parts ?? 0,
      bytes: sealed?.bytes ?? 0,
      small_contents: sealed?.smallContents ?? 0,
      columns: sealed?.columns ?? 0,
    }
  })
  // Whatever is sealed by keys that are gone is lost, and should never be there.
  const isLost = ({ state }: { state: string }) => state === 'dropped' || state === 'unknown'
  if (known.some((epoch) => isLost(epoch) && usage.has(epoch.epoch))) {
    process.exitCode = EXIT_FINDINGS
  }
  const shown = known.filter((epoch) => usage.has(epoch.epoch) || !isLost(epoch))
  return { root: epochs.root, epochs: shown }
}

function inWords(epoch: Awaited<ReturnType<typeof status>>['epochs'][number]): string {
  const { parts, bytes, small_contents: small, columns } = epoch
  return (
    `Epoch ${epoch.epoch}, ${epoch.state} (${epoch.kind ?? 'no keys'}), since ${epoch.created_at ?? 'nobody knows when'}: ` +
    `${parts} parts of ${bytes} bytes, ${small} small contents, ${columns} columns`
  )
}

function newEpochCommand(run: Run): Command {
  return createCommand('new-epoch', 'seal what is stored from now on with new keys').action(
    (_options: unknown, command: Command) =>
      run(
        command,
        async ({ epochs }) => {
          const epoch = await epochs.begin(() => delay(ANNOUNCED_FOR_MS))
          const begun = (await epochs.list()).find(({ number }) => number === epoch)
          return { epoch, kind: begun?.kind }
        },
        ({ epoch, kind }) =>
          `Epoch ${epoch} (${kind}) is current. What is older stays as it is until holdfast keys rekey.`,
      ),
  )
}

function rekeyCommand(run: Run): Command {
  return createCommand(
    'rekey',
    'seal anew what old epochs have sealed, and destroy their keys',
  ).action((_options: unknown, command: Command) =>
    run(
      command,
      async (core) => {
        const report = await rekey(core, command.optsWithGlobals().json === true)
        if (report.left.length > 0) process.exitCode = EXIT_FINDINGS
        return report
      },
      ({ current, dropped, left, parts, bytes, columns, damaged }) =>
        [
          `Sealed ${parts} parts of ${bytes} bytes and ${columns} columns to epoch ${current}.`,
          ...dropped.map((epoch) => `Epoch ${epoch} is gone.`),
          ...left.map((epoch) => `Epoch ${epoch} still seals something: run this again.`),
          ...(damaged > 0 ? [`${damaged} parts and columns do not open.`] : []),
        ].join('\n'),
    ),
  )
}

/** Runs it to its end, with a bar for a person who watches. */
async function rekey(core: Core, quiet: boolean): Promise<RekeyReport> {
  const isWatched = process.stderr.isTTY && !quiet
  const bar = isWatched ? new SingleBar({ stream: process.stderr }, Presets.legacy) : undefined
  const steps = core.rekey.run()
  let step = await steps.next()
  bar?.start(step.done ? 0 : step.value.total, 0)
  try {
    for (; !step.done; step = await steps.next()) bar?.update(step.value.done)
    return step.value
  } finally {
    bar?.stop()
  }
}

function newRootCommand(onLost: (error: Error) => void): Command {
  return createCommand('new-root', 'give the store another root key, while no server runs')
    .requiredOption('--new-key-file <file>', 'of the new root key; made when it is missing')
    .action(async ({ newKeyFile }: { newKeyFile: string }, command: Command) => {
      const { recipient, kind, keyFile, made } = await changeRootKey(
        loadConfig(),
        newKeyFile,
        onLost,
      )
      print(command, { recipient, kind, key_file: keyFile, made }, () =>
        [
          `The root key is ${recipient} (${kind})${made ? ', newly made' : ''}.`,
          `Set HOLDFAST_ROOT_KEY_FILE to ${keyFile}, or move that file to where the old key was, before the next start.`,
          'Keep the old key for as long as you keep backups that need it.',
        ].join('\n'),
      )
    })
}
