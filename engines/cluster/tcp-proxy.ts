import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** An address that stays, before servers on this machine that come and go. */
export interface TcpProxy {
  readonly port: number
  /** Leads new connections to others, and ends those to the ones of before. */
  moveTo(ports: readonly number[]): void
  close(): void
}

/**
 * Each connection goes to the next of the ports in turn, and on to the one after it where nobody
 * listens. When none does it is ended.
 */
export async function startTcpProxy(first: readonly number[]): Promise<TcpProxy> {
  let ports = first
  let turn = 0
  const open = new Set<Socket>()

  function follow(socket: Socket): void {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }

  function lead(client: Socket, left: readonly number[]): void {
    const [port, ...others] = left
    if (port === undefined) {
      client.resetAndDestroy()
      return
    }
    const server = connect({ port, host: '127.0.0.1', noDelay: true })
    const refused = () => lead(client, others)
    server.once('error', refused)
    server.once('connect', () => {
      server.off('error', refused)
      follow(server)
      join(client, server)
      // Who left meanwhile does not say so again.
      if (client.destroyed) server.destroy()
    })
  }

  const listener = createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    follow(client)
    // An end that breaks closes, too.
    client.on('error', () => undefined)
    turn = (turn + 1) % ports.length
    lead(client, [...ports.slice(turn), ...ports.slice(0, turn)])
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')

  return {
    port: (listener.address() as AddressInfo).port,
    moveTo(others) {
      ports = others
      for (const socket of open) socket.destroy()
    },
    close() {
      listener.close()
      for (const socket of open) socket.destroy()
    },
  }
}

/** One end that breaks or closes takes the other along. */
function join(client: Socket, server: Socket): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    from.on('error', () => to.resetAndDestroy())
    from.once('close', () => to.destroy())
    from.pipe(to)
  }
}
