/**
 * Gives a buffer's memory back at once. Left to the collector, the 64 KiB buffers of a transfer add
 * up to 70 MiB before it looks at them, and then cost full collections.
 *
 * @param piece not to be used any more; freed only when it is all of its buffer
 */
export function free(piece: Uint8Array): void {
  const { buffer } = piece
  if (buffer instanceof ArrayBuffer && !buffer.detached && buffer.byteLength === piece.byteLength) {
    buffer.transfer(0)
  }
}
