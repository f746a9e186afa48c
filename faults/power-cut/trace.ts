/** A system call of a traced process, as `strace -f` writes it. */
export interface Call {
  readonly name: string
  /** The whole call with its arguments and result, in one line. */
  readonly text: string
  /** The lines of the trace at which it began and had returned. */
  readonly begun: number
  readonly returned: number
}

/**
 * The calls of a trace, line by line, that succeeded, in the order in which they returned. One that another thread's
 * line interrupts stands in two lines: `12 fdatasync(20</x> <unfinished ...>` and
 * `12 <... fdatasync resumed>) = 0`.
 */
export async function* parseTrace(lines: AsyncIterable<string>): AsyncGenerator<Call> {
  const unfinished = new Map<string, { text: string; begun: number }>()
  let at = -1
  for await (const line of lines) {
    at += 1
    const [, thread = '', text = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    const resumed = /^<\.\.\. \w+ resumed>/.exec(text)
    const start = resumed ? unfinished.get(thread) : { text: '', begun: at }
    if (!start) continue
    const whole = start.text + text.slice(resumed?.[0].length ?? 0)
    unfinished.delete(thread)
    if (whole.endsWith('<unfinished ...>')) {
      unfinished.set(thread, { text: whole.replace('<unfinished ...>', ''), begun: start.begun })
      continue
    }
    const name = /^(\w+)\(/.exec(whole)?.[1]
    if (!name || !/\) += \d/.test(whole)) continue
    yield { name, text: whole, begun: start.begun, returned: at }
  }
}
