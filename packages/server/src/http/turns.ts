/** Shares each turn of the event loop among those who have much to do in it. */
export interface Turns {
  /**
   * Waits until the turn has room for one more piece of work; whoever waits longest is first.
   *
   * @param amount of work in the piece
   */
  take(amount: number): Promise<void>
}

/** @param most work after which a turn ends; its last piece may be beyond */
export function createTurns(most: number): Turns {
  let taken = 0
  let next: Promise<void> | undefined

  function nextTurn(): Promise<void> {
    next ??= new Promise((resolve) => {
      setImmediate(() => {
        taken = 0
        next = undefined
        resolve()
      })
    })
    return next
  }

  return {
    async take(amount) {
      while (taken >= most) await nextTurn()
      taken += amount
    },
  }
}
