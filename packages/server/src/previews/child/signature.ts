/** What stands at some places of a file, each byte a character. */
export type Signature = readonly (readonly [offset: number, text: string])[]

/** Whether a file begins as one of these do. */
export function hasSignature(bytes: Buffer, ...signatures: readonly Signature[]): boolean {
  return signatures.some((signature) =>
    signature.every(
      ([offset, text]) => bytes.toString('latin1', offset, offset + text.length) === text,
    ),
  )
}
