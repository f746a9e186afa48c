import { mkdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Call } from './trace.ts'

/** What a disk may lose on its own in the middle of a write. */
const SECTOR = 512

/** A call, with what it writes. */
export interface DiskCall extends Call {
  readonly bytes?: Buffer
}

/** Decides for each thing that was written and not synced whether the disk kept it. */
export type Keeps = () => boolean

interface File {
  readonly kind: 'file'
  /** What a sync has covered. */
  synced: Buffer
  pending: Change[]
}

interface Folder {
  readonly kind: 'folder'
  readonly synced: Map<string, Node>
  pending: Entry[]
}

type Node = File | Folder

/** A change of a file's bytes, done when the call had returned. */
type Change = { readonly at: number } & (
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'resize'; readonly size: number }
)

/** A name that was added to a folder, or taken away from it. */
interface Entry {
  readonly at: number
  readonly name: string
  readonly node: Node | undefined
}

/**
 * A disk behind a page cache, as POSIX promises it and no better: what a file holds is on the disk
 * when a sync of the file that began later has ended, and a name when a sync of its folder has. Until
 * then each sector and each name may be there or not, by itself.
 */
export interface Disk {
  /** Takes note of a call. @throws Error for a call on the disk's files that it does not understand */
  apply(call: DiskCall): void
  /** Writes into `target` what would be there after the power was cut now. */
  cut(target: string, keeps: Keeps): Promise<void>
}

/** @param root the folder that is watched; it was there before and is durable, with nothing in it */
export function createDisk(root: string): Disk {
  const top = newFolder()
  /** Where a descriptor stands that is written without saying where. */
  const positions = new Map<string, number>()

  function isWatched(path: string): boolean {
    // The index of the log is never written through the kernel: every crash has it made anew.
    return (path === root || path.startsWith(`${root}/`)) && !path.endsWith('-shm')
  }

  function find(path: string): Node | undefined {
    const names = path.slice(root.length).split('/').filter(Boolean)
    let node: Node | undefined = top
    for (const name of names) node = node?.kind === 'folder' ? entryOf(node, name) : undefined
    return node
  }

  function folderOf(path: string): Folder {
    const folder = find(dirname(path))
    if (folder?.kind !== 'folder') throw new Error(`no folder for ${path}`)
    return folder
  }

  function fileAt(path: string): File {
    const file = find(path)
    if (file?.kind !== 'file') throw new Error(`no file ${path}`)
    return file
  }

  function name(path: string, node: Node | undefined, at: number): void {
    folderOf(path).pending.push({ at, name: basename(path), node })
  }

  function write(call: Call, path: string, descriptor: string, bytes: Buffer): void {
    const at = call.returned
    const explicit = /^p/.test(call.name)
    const offset = explicit
      ? Number(/, (\d+) *\) += \d+$/.exec(call.text)?.[1])
      : (positions.get(descriptor) ?? 0)
    const written = bytes.subarray(0, resultOf(call))
    if (written.length < resultOf(call)) throw new Error(`the trace cut ${call.name} short`)
    if (!explicit) positions.set(descriptor, offset + written.length)
    fileAt(path).pending.push({ at, kind: 'write', offset, bytes: written })
  }

  function open(call: Call, path: string): void {
    const flags = call.text.slice(call.text.lastIndexOf('"'))
    positions.set(String(resultOf(call)), 0)
    const known = find(path)
    if (!known && flags.includes('O_CREAT')) name(path, newFile(), call.returned)
    if (known?.kind === 'file' && flags.includes('O_TRUNC')) {
      known.pending.push({ at: call.returned, kind: 'resize', size: 0 })
    }
  }

  function rename(from: string, to: string, at: number): void {
    const node = find(from)
    if (isWatched(from)) name(from, undefined, at)
    if (isWatched(to)) name(to, node, at)
  }

  return {
    apply(call) {
      const at = call.returned
      const paths = stringsOf(call.text)
      const [path = '', other = ''] = paths
      const handle = /^\w+\((\d+)<([^>]*)>/.exec(call.text)
      const [descriptor = '', open_ = ''] = handle?.slice(1) ?? []
      const file = decode(open_).toString()

      if (handle && !isWatched(file)) return
      if (!handle && ![path, other].some(isWatched)) return
      switch (call.name) {
        case 'open':
        case 'openat':
          return open(call, path)
        case 'write':
        case 'writev':
        case 'pwrite64':
        case 'pwritev':
        case 'pwritev2':
          return write(call, file, descriptor, call.bytes ?? Buffer.alloc(0))
        case 'ftruncate': {
          const size = Number(/, (\d+) *\)/.exec(call.text)?.[1])
          fileAt(file).pending.push({ at, kind: 'resize', size })
          return
        }
        case 'fsync':
        case 'fdatasync':
          return sync(find(file), call.begun)
        case 'rename':
        case 'renameat2':
          return rename(path, other, at)
        case 'link':
          return name(other, find(path), at)
        case 'unlink':
        case 'rmdir':
          return name(path, undefined, at)
        case 'mkdir':
          return name(path, newFolder(), at)
        default:
          throw new Error(`what does this do to the disk: ${call.text.slice(0, 200)}`)
      }
    },

    cut: (target, keeps) => writeFolder(top, target, keeps),
  }
}

function newFile(): File {
  return { kind: 'file', synced: Buffer.alloc(0), pending: [] }
}

function newFolder(): Folder {
  return { kind: 'folder', synced: new Map(), pending: [] }
}

/** What a program sees. */
function entryOf(folder: Folder, name: string): Node | undefined {
  const last = folder.pending.findLast((entry) => entry.name === name)
  return last ? last.node : folder.synced.get(name)
}

/** Makes durable what was done before the sync began. */
function sync(node: Node | undefined, begun: number): void {
  if (node?.kind === 'file') {
    const covered = node.pending.filter(({ at }) => at < begun)
    node.synced = changed(node.synced, covered)
    node.pending = node.pending.filter(({ at }) => at >= begun)
  } else if (node) {
    for (const entry of node.pending) if (entry.at < begun) enter(node.synced, entry)
    node.pending = node.pending.filter(({ at }) => at >= begun)
  }
}

function enter(entries: Map<string, Node>, { name, node }: Entry): void {
  if (node) entries.set(name, node)
  else entries.delete(name)
}

function changed(bytes: Buffer, changes: readonly Change[]): Buffer {
  let size = bytes.length
  let most = size
  for (const change of changes) {
    size =
      change.kind === 'resize' ? change.size : Math.max(size, change.offset + change.bytes.length)
    most = Math.max(most, size)
  }
  const result = Buffer.alloc(most)
  bytes.copy(result)
  for (const change of changes) {
    if (change.kind === 'write') change.bytes.copy(result, change.offset)
    else result.fill(0, change.size)
  }
  return result.subarray(0, size)
}

/** Sector by sector, as a disk loses power. */
function* sectors(change: Change): Generator<Change> {
  if (change.kind === 'resize') {
    yield change
    return
  }
  const { at, offset, bytes } = change
  for (let from = 0; from < bytes.length; ) {
    const length = Math.min(SECTOR - ((offset + from) % SECTOR), bytes.length - from)
    yield { at, kind: 'write', offset: offset + from, bytes: bytes.subarray(from, from + length) }
    from += length
  }
}

async function writeFolder(folder: Folder, target: string, keeps: Keeps): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o700 })
  const entries = new Map(folder.synced)
  for (const entry of folder.pending) if (keeps()) enter(entries, entry)
  for (const [name, node] of entries) {
    const path = join(target, name)
    if (node.kind === 'folder') {
      await writeFolder(node, path, keeps)
    } else {
      const kept = node.pending.flatMap((change) => [...sectors(change)].filter(() => keeps()))
      await writeFile(path, changed(node.synced, kept), { mode: 0o600 })
    }
  }
}

function resultOf(call: Call): number {
  return Number(/= (\d+)[^=]*$/.exec(call.text)?.[1])
}

/** The strings of a call, in their order, without those in structures. */
function stringsOf(text: string): string[] {
  return [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) =>
    decode(hex).toString(),
  )
}

/** The bytes of a call that writes, of all its pieces. */
export function bytesOf(text: string): Buffer {
  return Buffer.concat(
    [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) => decode(hex)),
  )
}

/** `strace -xx` writes every byte of a string, or of a path, as `\x2f`. */
function decode(hex: string): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex')
}
