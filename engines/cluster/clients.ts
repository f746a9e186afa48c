import type { Ask } from '../../faults/soak/people.ts'
import { ask, CutError, type Question } from '../../faults/soak/requests.ts'
import { SERVERS, type Servers } from './servers.ts'

/** What became of a request. */
export interface Outcome {
  readonly dialect: string
  readonly method: string
  /** When it was sent, in milliseconds of `performance.now()`. */
  readonly begun: number
  /** Milliseconds until all of the answer was there. */
  readonly took: number
  /** Bytes of files that it brought, or of the answer. */
  readonly bytes: number
  /**
   * The status of HTTP; or that nobody listened, that the connection was cut before there was an answer
   * or within it, or that the client did not want to wait.
   */
  readonly result: number | 'refused' | 'cut' | 'cut within' | 'gave up'
}

/** Programs that know the addresses of all servers. */
export interface Clients {
  readonly ask: Ask
  /** All that were sent, in the order in which they ended. */
  readonly outcomes: readonly Outcome[]
  /** Sends everything to one server, or to all in turn again. */
  use(server: number | 'all'): void
}

/**
 * A request goes to the servers in turn. Where nobody listens it goes to the next one: nobody has seen
 * it. In all other cases whoever sent it is told.
 */
export function createClients(servers: Servers): Clients {
  const outcomes: Outcome[] = []
  let only: number | undefined
  let turn = 0

  function order(): number[] {
    if (only !== undefined) return [only]
    turn += 1
    return Array.from({ length: SERVERS }, (_, number) => (turn + number) % SERVERS)
  }

  async function askOne(
    server: number,
    path: string,
    method: string,
    question: Question,
  ): ReturnType<Ask> {
    const begun = performance.now()
    const { address } = servers.at(server)
    const record = (result: Outcome['result'], bytes: number) =>
      outcomes.push({
        ...{ dialect: dialectOf(path), method, begun, result },
        took: performance.now() - begun,
        bytes: Math.max(bytes, bytesOf(question)),
      })
    try {
      const answer = await ask(`${address}${path}`, method, question)
      record(answer.status, answer.bytes.length)
      // What is away is a 503; anything else of that kind is a fault of the server.
      if (answer.status < 500) return answer
      throw new Error(
        `server ${server} answered ${answer.status} to ${method} ${path}: ${answer.bytes}`,
      )
    } catch (error) {
      if (!(error instanceof CutError)) throw error
      const result = resultOf(error)
      record(result, 0)
      // Nothing but its end lets a server be silent; what it has begun to send it may have to cut.
      if (result !== 'cut' || servers.hasEndedSince(server, begun)) throw error
      throw new Error(`server ${server} cut ${method} ${path}`, { cause: error })
    }
  }

  return {
    outcomes,
    use(server) {
      only = server === 'all' ? undefined : server
    },
    async ask(path, method, question = {}) {
      let last: unknown
      for (const server of order()) {
        try {
          return await askOne(server, path, method, question)
        } catch (error) {
          if (!(error instanceof CutError) || !isRefused(error.cause)) throw error
          last = error
        }
      }
      throw new Error(`no server listens: ${method} ${path}`, { cause: last })
    },
  }
}

function dialectOf(path: string): string {
  if (path.startsWith('/api/')) return 'privasfer'
  return path.startsWith('/internal/') ? 'twake' : 'misakey'
}

/** Of the files that are sent. */
function bytesOf({ body }: Question): number {
  let bytes = 0
  for (const [, value] of body ?? []) bytes += typeof value === 'string' ? 0 : value.size
  return bytes
}

function isRefused(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: NodeJS.ErrnoException }
  return cause?.code === 'ECONNREFUSED'
}

function resultOf({ status, cause }: CutError): Outcome['result'] {
  if (status !== undefined) return status
  if (isRefused(cause)) return 'refused'
  if (cause instanceof DOMException) return 'gave up'
  return (cause as Error).message === 'terminated' ? 'cut within' : 'cut'
}
