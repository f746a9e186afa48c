import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PreviewKind } from '../core/previews/formats.ts'
import type { PreviewPace } from '../core/previews/jobs.ts'

/** What renderers see of the environment, and where their programs are looked for. */
export const RENDERER_ENVIRONMENT = {
  PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
  LANG: 'C.UTF-8',
  HOME: '/tmp',
}

/**
 * How renderers are kept from everything but their input:
 *
 * - `full`: namespaces of their own. No network, no other process, and of the file system only
 *   programs and libraries, read-only, beside an empty `/tmp` in memory
 * - `limits`: limits on memory, processor time and files alone. Network and disk are out of reach only
 *   as far as Node's permissions go
 * - `none`: a process without settings and keys, and Node's permissions
 */
export type Isolation = 'full' | 'limits' | 'none'

/** What this process can show, and how. */
export interface PreviewAbilities {
  readonly isolation: Isolation
  /** Of each kind, whether it is made here, or why it is not. */
  readonly kinds: Readonly<
    Record<PreviewKind, 'on' | 'off' | 'no LibreOffice' | 'no ffmpeg' | 'not isolated'>
  >
}

interface Limits {
  /** Of private memory, bytes; for each process. */
  readonly memory: number
  /** Of any file. The files are in memory. */
  readonly fileSize: number
  /** Of `/tmp`, in the words of `mount`. */
  readonly folder: string
  /** Seconds of processor time. */
  readonly cpu: number
  readonly permissions: readonly string[]
}

const MB = 1024 * 1024

const LIMITS: Record<PreviewPace, Limits> = {
  // Many jobs in one process, which writes nothing at all.
  quick: { memory: 1024 * MB, fileSize: 0, folder: '1m', cpu: 1200, permissions: [] },
  slow: {
    ...{ memory: 2048 * MB, fileSize: 256 * MB, folder: '512m', cpu: 120 },
    permissions: ['--allow-child-process', '--allow-fs-read=/tmp', '--allow-fs-write=/tmp'],
  },
}
const OPEN_FILES = 256

const SYSTEM_FOLDERS = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/usr']
/** Of `/etc` and `/var`, what programs need to find libraries and fonts. */
const SYSTEM_DETAILS = [
  ...['/etc/alternatives', '/etc/fonts', '/etc/ld.so.cache', '/etc/ld.so.conf'],
  ...['/etc/ld.so.conf.d', '/etc/libreoffice', '/var/cache/fontconfig', '/var/lib/libreoffice'],
]
const HERE = import.meta.dirname
const MAIN = join(HERE, 'child', 'main.ts')
const OLD_SPACE_MB = 256

/** Finds out, once at the start, what the machine allows. */
export async function findAbilities(previewMax: number): Promise<PreviewAbilities> {
  if (previewMax === 0) {
    return { isolation: 'none', kinds: { image: 'off', pdf: 'off', office: 'off', video: 'off' } }
  }
  const isolation = await findIsolation()
  const tool = async (name: string, missing: 'no LibreOffice' | 'no ffmpeg') => {
    if (!(await isInstalled(name))) return missing
    // They need files, which are in memory only there; and documents may name files of others.
    return isolation === 'full' ? 'on' : 'not isolated'
  }
  return {
    isolation,
    kinds: {
      image: 'on',
      pdf: 'on',
      office: await tool('soffice', 'no LibreOffice'),
      video: await tool('ffmpeg', 'no ffmpeg'),
    },
  }
}

async function findIsolation(): Promise<Isolation> {
  for (const isolation of ['full', 'limits'] as const) {
    if (await works(await isolated(isolation, 'quick', ['/bin/true'], [...SYSTEM_FOLDERS]))) {
      return isolation
    }
  }
  return 'none'
}

function works([program = '', ...words]: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    spawn(program, words, { stdio: 'ignore', env: RENDERER_ENVIRONMENT, cwd: '/' })
      .once('error', () => resolve(false))
      .once('exit', (code) => resolve(code === 0))
  })
}

async function isInstalled(name: string): Promise<boolean> {
  for (const folder of RENDERER_ENVIRONMENT.PATH.split(':')) {
    const found = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return true
  }
  return false
}

/** The words that start a renderer. */
export async function rendererCommand(
  isolation: Isolation,
  pace: PreviewPace,
): Promise<readonly string[]> {
  const node = await realpath(process.execPath)
  const sources = [HERE, join(HERE, '../../package.json')]
  const libraries = [...new Set(['sharp', '@hyzyla/pdfium'].map(librariesOf))]
  const program = [
    ...[node, `--max-old-space-size=${OLD_SPACE_MB}`, '--disable-warning=SecurityWarning'],
    ...['--permission', '--allow-addons', ...LIMITS[pace].permissions],
    ...[...sources, ...libraries].map((path) => `--allow-fs-read=${path}`),
    MAIN,
  ]
  const shown = [...SYSTEM_FOLDERS, ...SYSTEM_DETAILS, node, ...sources, ...libraries]
  return isolated(isolation, pace, program, shown)
}

/** The folder `node_modules` that a package was found in. */
function librariesOf(name: string): string {
  const path = fileURLToPath(import.meta.resolve(name))
  return path.slice(0, path.lastIndexOf('/node_modules/') + '/node_modules'.length)
}

async function isolated(
  isolation: Isolation,
  pace: PreviewPace,
  program: readonly string[],
  shown: readonly string[],
): Promise<readonly string[]> {
  if (isolation === 'none') return program
  const { memory, fileSize, folder, cpu } = LIMITS[pace]
  const limited = [
    ...['prlimit', '--core=0', `--data=${memory}`, `--fsize=${fileSize}`],
    ...[`--cpu=${cpu}`, `--nofile=${OPEN_FILES}`, '--', ...program],
  ]
  // It ends with the server, however that ends.
  const bound = ['setpriv', '--pdeathsig', 'KILL', '--no-new-privs', '--']
  if (isolation === 'limits') return [...bound, ...limited]
  const asRoot = process.getuid?.() === 0
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...['unshare', ...(asRoot ? [] : ['--user', '--map-root-user'])],
    ...['--mount', '--net', '--pid', '--ipc', '--uts', '--fork', '--kill-child', '--'],
    ...['sh', join(HERE, 'jail.sh'), folder, ...shown, '--'],
    ...['setpriv', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--'],
    ...limited,
  ]
}
