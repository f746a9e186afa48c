/** What a thread was doing when it was looked at: from the thread to the innermost function. */
export type Stack = readonly Frame[]

export interface Frame {
  readonly name: string
  readonly kind: 'thread' | 'ours' | 'library' | 'native' | 'kernel'
}

const THREADS: Readonly<Record<string, string>> = {
  'node-MainThread': 'event loop',
  'libuv-worker': 'thread pool',
  'node-V8Worker': "V8's threads",
  WorkerThread: 'checkpoints',
}
const COLLECTION =
  /Heap::|Scaveng|MarkCompact|ConcurrentMark|Sweeper|MarkingVisitor|Evacuat|PointersUpdating/
const COMPILER =
  /v8::internal::compiler|OptimizedCompilation|maglev|baseline::|turboshaft|Compiler::/
const SYSTEM_CALL = /^(?:__x64_sys|ksys|__sys|do)_(\w*(?:read|write|recv|send|sync|poll|futex)\w*)$/

/** Reads what `perf script -F comm,ip,sym` prints, and leaves out what no reader needs. */
export function stacksOf(output: string): Stack[] {
  return output
    .split('\n\n')
    .map((sample) => sample.trim().split('\n'))
    .filter((lines) => lines.length > 1)
    .map(([thread = '', ...lines]) => [
      { name: THREADS[thread.trim()] ?? thread.trim(), kind: 'thread' },
      ...framesOf(lines.reverse()),
    ])
}

/** @param lines an address and a symbol each, the outermost first */
function framesOf(lines: readonly string[]): Frame[] {
  const symbols = lines.map((line) => /^\s*(\S+) (.*)$/.exec(line)?.slice(1) ?? ['', ''])
  const names = symbols.map(([, symbol = '']) => symbol)
  if (names.some((name) => COLLECTION.test(name))) return [native('garbage collection')]
  if (names.some((name) => COMPILER.test(name))) return [native('compiler')]
  const frames: Frame[] = []
  for (const [index, [address = '', symbol = '']] of symbols.entries()) {
    const frame = frameOf(address, symbol, index === symbols.length - 1)
    if (frame && frame.name !== frames.at(-1)?.name) frames.push(frame)
  }
  return frames
}

function frameOf(address: string, symbol: string, isInnermost: boolean): Frame | undefined {
  const script = /^JS:(?:o\+)?\W*(\S*) (?:file:\/\/)?(\S+?)(?::\d+)*$/.exec(symbol)
  if (script) return scriptFrame(script[1] || 'anonymous', script[2] ?? '')
  if (address.startsWith('ffffffff')) {
    if (symbol === 'handle_softirqs') return { name: 'network stack', kind: 'kernel' }
    const name = SYSTEM_CALL.exec(symbol)?.[1] ?? (isInnermost ? symbol : undefined)
    return name === undefined ? undefined : { name, kind: 'kernel' }
  }
  const isNoise = symbol === '[unknown]' || symbol.startsWith('Builtins_')
  return isInnermost && !isNoise ? native(symbol.replace(/[<(].*$/, '')) : undefined
}

function scriptFrame(name: string, path: string): Frame {
  const file = path.replace(/^.*\/(node_modules|packages\/\w+\/src)\//, '')
  const isOurs = /\/packages\//.test(path)
  return { name: `${name} ${file}`, kind: isOurs ? 'ours' : 'library' }
}

function native(name: string): Frame {
  return { name, kind: 'native' }
}
