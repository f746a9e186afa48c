/** A database that cannot be used; the message says what the operator should do, and has no password in it. */
export class DatabaseError extends Error {
  override name = 'DatabaseError'
}
