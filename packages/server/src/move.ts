import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { BLOB_FOLDER } from './core/blobs/names.ts'
import type { BlobStore } from './core/blobs/store.ts'
import {
  createFindings,
  type Finding,
  type FindingKind,
  type Findings,
  type OnProgress,
} from './core/checks/findings.ts'
import { checkParts, createPartChecks, type PartRow } from './core/checks/parts.ts'
import { checkBlobs, checkSealedColumns, checkSmallContent } from './core/checks/rows.ts'
import { createCore } from './core/core.ts'
import type { Database } from './core/database.ts'
import { CoreError } from './core/errors.ts'
import { failpoint } from './core/failpoints.ts'
import { KEYRING_FOLDER, type Keyring, openKeyring } from './core/keys/keyring.ts'
import { putMeta } from './core/meta.ts'
import { moveKeyring, moveObjects, requireRoom, sizeOfObjects } from './core/move/objects.ts'
import { compareRows, countRows, hasNoRows, moveRows } from './core/move/rows.ts'
import type { Row } from './core/schema.ts'
import {
  databasePlaceOf,
  isOfVolume,
  markerOf,
  openStorePlace,
  refuseOtherSchema,
  rootKeyOf,
  volumeOf,
} from './open.ts'
import { placeName, type S3Place } from './store/blobs/s3/place.ts'
import { changeStoreMarker } from './store/blobs/volume.ts'
import { closing } from './store/database/place.ts'
import { nodeFiles } from './store/files.ts'
import {
  FolderError,
  putMarker,
  readMarker,
  realFolder,
  type VolumeMarker,
} from './store/folder.ts'
import {
  type BegunNote,
  begunObjects,
  type DoneNote,
  doneObjects,
  doneRows,
  isNote,
  movedAway,
  newNote,
  noteBegunObjects,
  noteBegunRows,
  noteDoneObjects,
  noteDoneRows,
  removeBegunObject,
  removeBegunRow,
} from './store/move-notes.ts'
import type { Volume } from './store/volume.ts'

export interface MoveOptions {
  readonly clock: () => number
  /** Moves a store in which something does not open, as it is. */
  readonly withFindings: boolean
  /** Findings that are listed; all are counted. */
  readonly most: number
  /** Ends it, to go on from there another time. */
  readonly signal: AbortSignal
  readonly onProgress: OnProgress
  /** Told when a server may start on one of the places, although this goes on: the process should end. */
  readonly onLost: (error: Error) => void
}

export interface MoveReport {
  /** Whether the store is at its new place now. */
  readonly moved: boolean
  /** Whether this went on with an interrupted move. */
  readonly resumed: boolean
  readonly rows: number
  /** Objects and their bytes that are at the new place. */
  readonly objects: number
  readonly bytes: number
  /** Those of them that this run has brought there. */
  readonly copied: { readonly objects: number; readonly bytes: number }
  /** What does not open where it comes from. */
  readonly findings: readonly Finding[]
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  readonly total: number
}

/**
 * Moves a store to another place, while no server runs on it: rows into another database, objects into
 * another blob store, or both, all of it as it is, sealed. What has arrived is held against what it was
 * and opened. Then the old place is noted as moved away, and only after that the new one can be served:
 * never both. Whenever this is interrupted, the same call goes on.
 *
 * @param from where it is
 * @param to the same settings but for what is to be moved
 * @throws FolderError, DatabaseError, BucketError, RootKeyError, KeyringError, RowsError, TargetError
 */
export async function moveStore(
  from: Config,
  to: Config,
  options: MoveOptions,
): Promise<MoveReport> {
  const ends: (() => unknown)[] = []
  try {
    const move = await openMove(from, to, options.onLost, ends)
    const outcome = await databasePlaceOf(from).alone((source) => carryOver(move, source, options))
    await failpoint('move.retired')
    if (outcome.done) await finish(move, outcome.done, outcome.meta)
    return outcome.report
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

/** What is moved, and both places of it, opened. */
interface Move {
  readonly marker: VolumeMarker
  readonly root: Identity
  readonly from: { readonly config: Config; readonly store: BlobStore }
  readonly to: {
    readonly config: Config
    readonly at: Addresses
    /** Undefined where rows stay where they are. */
    readonly database: Database | undefined
    /** Undefined where objects stay where they are. */
    readonly store: BlobStore | undefined
  }
  /** What an interrupted run has noted there. */
  readonly begun: {
    readonly rows: BegunNote | undefined
    readonly objects: BegunNote | undefined
  }
  /** The same, or what this one notes. */
  readonly note: BegunNote
  /** What one has noted here, when everything had arrived. */
  readonly done: DoneNote | undefined
}

interface Outcome {
  readonly report: MoveReport
  /** There is one when everything has arrived. */
  readonly done: DoneNote | undefined
  /** Rows of `meta` that go along. */
  readonly meta: readonly MetaRow[]
}

type MetaRow = Row<'meta'>

/** @param ends what is to be done at the end, the last first */
async function openMove(
  from: Config,
  to: Config,
  onLost: (error: Error) => void,
  ends: (() => unknown)[],
): Promise<Move> {
  const [old, at] = [await addressesOf(from), await addressesOf(to)]
  const movesRows = old.rows !== at.rows
  const movesObjects = old.objects !== at.objects
  if (!movesRows && !movesObjects) {
    throw new FolderError(
      'nothing is to be moved: HOLDFAST_TO_DATABASE_URL, HOLDFAST_TO_BLOBS_URL or HOLDFAST_TO_DATA name another place',
    )
  }
  const [here, there] = [placeOf(from), placeOf(to)]
  ends.push(here.close, there.close)
  const marker = await markerOf(from, here)
  ends.push(await here.lockAlone(onLost))
  ends.push(await here.lockKeys(onLost))
  const sharesLock = old.lock === at.lock
  if (!sharesLock) ends.push(await there.lockAlone(onLost))
  const root = await rootKeyOf(from, here, marker)
  // It must not lie within the new place either.
  await rootKeyOf(to, there, marker)
  await here.join(marker, false)
  const oldStore = await here.store()
  const store = movesObjects ? await there.store() : undefined
  const done = (await inspect(from, marker)) ?? (await doneObjects(oldStore))
  const begun = {
    rows: movesRows ? (await databasePlaceOf(to).binding()).begun : undefined,
    objects: store && (await begunObjects(store)),
  }
  const note = begun.rows ?? begun.objects ?? newNote(marker.volume)
  if (done && note.id !== done.id) throw movedAway(done)
  if (!done) await requireFree({ to, at, marker, store, movesRows, sharesLock, begun })
  // Before there is anything else.
  if (!done && store && !begun.objects) await noteBegunObjects(store, note)
  const database = movesRows ? await openNewDatabase(to, note, begun.rows === undefined) : undefined
  if (database) ends.push(() => database.close())
  return {
    ...{ marker, root, begun, note, done },
    from: { config: from, store: oldStore },
    to: { config: to, at, database, store },
  }
}

function placeOf(config: Config): Volume {
  return volumeOf(config, nodeFiles, undefined, openStorePlace)
}

/** Whether the marker and the locks of a store lie in its data folder. */
function hasFolder({ blobs, postgres }: Config): boolean {
  return !(blobs && postgres)
}

/** Where a store is, as an operator would know it; nothing secret. One place has one address, however it is spelled. */
interface Addresses {
  readonly rows: string
  readonly objects: string
  /** Of its folder, or where there is none of its database. */
  readonly lock: string
}

async function addressesOf(config: Config): Promise<Addresses> {
  const rows = await databasePlaceOf(config).address()
  const folder = await realFolder(config.data)
  const objects = config.blobs ? bucketAddress(config.blobs) : folder
  return { rows, objects, lock: hasFolder(config) ? folder : rows }
}

function bucketAddress(place: S3Place): string {
  return place.endpoint ? `${placeName(place)} at ${place.endpoint}` : placeName(place)
}

/** @returns where the rows were moved to, if they were */
async function inspect(from: Config, marker: VolumeMarker): Promise<DoneNote | undefined> {
  return closing(await databasePlaceOf(from).openForCommand(), async (database) => {
    await refuseOtherSchema(database)
    if (!(await isOfVolume(database, marker))) {
      throw new FolderError('the first start of this store was interrupted: start the server once')
    }
    return doneRows(database.read)
  })
}

async function openNewDatabase(to: Config, note: BegunNote, isNew: boolean): Promise<Database> {
  const place = databasePlaceOf(to)
  const database = await place.openForServer(() => undefined)
  try {
    if (isNew && !(await hasNoRows(database.read))) throw inUse(place.name)
    if (isNew) await noteBegunRows(database, note)
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

/** Makes sure that the new place is empty, or that of the same move. */
async function requireFree(places: {
  to: Config
  at: Addresses
  marker: VolumeMarker
  store: BlobStore | undefined
  movesRows: boolean
  sharesLock: boolean
  begun: Move['begun']
}): Promise<void> {
  const { to, at, marker, store, movesRows, sharesLock, begun } = places
  for (const note of [begun.rows, begun.objects]) {
    if (note && note.volume !== marker.volume) {
      throw new FolderError('the new place is that of another store whose move is not done')
    }
  }
  const place = databasePlaceOf(to)
  if (movesRows && !begun.rows && (await place.binding()).volume !== undefined) {
    throw inUse(place.name)
  }
  if (!store || begun.objects) return
  // In a folder there is the lock, and may be the database of the same store.
  for (const prefix of to.blobs ? [''] : [BLOB_FOLDER, KEYRING_FOLDER]) {
    for await (const { name } of store.list(prefix)) throw inUse(`${at.objects} (${name})`)
  }
  if (to.blobs || begun.rows || sharesLock) return
  if (await readMarker(to.data)) throw inUse(to.data)
}

function inUse(what: string): FolderError {
  return new FolderError(`${what} is in use: a store can only be moved to an empty place`)
}

/** Brings everything to the new place, and notes at the old one that it is there. */
async function carryOver(move: Move, source: Database, options: MoveOptions): Promise<Outcome> {
  const { root, from, to, begun, note } = move
  const { clock, signal, withFindings, onProgress } = options
  const meta = (await source.read.selectFrom('meta').selectAll().execute()).filter(
    ({ key }) => key !== STARTED_AT && !isNote(key),
  )
  const findings = createFindings(options.most)
  const isResumed = begun.rows !== undefined || begun.objects !== undefined
  if (move.done) {
    const { objects, bytes } = await sizeOfObjects(source.read)
    const counts = { rows: await countRows(source.read), objects, bytes, copied: NOTHING }
    const report = reportOf(findings, { ...counts, moved: true, resumed: true })
    return { report, done: move.done, meta }
  }
  if (to.store) await requireRoom(source.read, to.store)
  const keyring = await openKeyring(from.store, root)
  const counts = { rows: 0, objects: 0, bytes: 0, copied: NOTHING }
  if (to.database) {
    counts.rows = await bringRows(to.database, source, keyring, !begun.rows, findings, options)
  }
  if (to.database && !to.store) await checkObjects(to.database, from.store, keyring, findings)
  if (to.store && !signal.aborted) {
    await to.store.clearUnfinished()
    await moveKeyring(from.store, to.store)
    await openKeyring(to.store, root)
    const stores = { source, from: from.store, to: to.store, keyring }
    const store = to.store
    const moved = await moveObjects(stores, {
      ...{ findings, signal, onProgress },
      position: begun.objects?.position,
      keep: (position) => noteBegunObjects(store, { ...note, position }),
    })
    Object.assign(counts, { objects: moved.objects, bytes: moved.bytes, copied: moved.copied })
  }
  if (to.database && !signal.aborted) await indexNames(move, to.database, options)
  const isMoved = !signal.aborted && (findings.total() === 0 || withFindings)
  const report = reportOf(findings, { ...counts, moved: isMoved, resumed: isResumed })
  if (!isMoved) return { report, done: undefined, meta }
  const done = { id: note.id, to: whereTo(move), at: clock() }
  await failpoint('move.retiring')
  if (to.database) await noteDoneRows(source, done)
  return { report, done, meta }
}

/** Rows, held against the source's, with every sealed value opened. */
async function bringRows(
  target: Database,
  source: Database,
  keyring: Keyring,
  isNew: boolean,
  findings: Findings,
  { signal, onProgress }: MoveOptions,
): Promise<number> {
  const rows = await moveRows(source, target, isNew, signal, onProgress)
  if (signal.aborted) return rows
  await compareRows(source, target, onProgress)
  let opened = 0
  for (const check of [checkBlobs, checkSmallContent, checkSealedColumns]) {
    for await (const checked of check(target, keyring)) {
      checked.findings.forEach(findings.add)
      opened += checked.rows
      onProgress('seals', Math.min(opened, rows), rows)
      if (signal.aborted) return rows
    }
  }
  return rows
}

/** Objects that stay where they are, held against the rows by size, header and nonce. */
async function checkObjects(
  target: Database,
  store: BlobStore,
  keyring: Keyring,
  findings: Findings,
): Promise<void> {
  const checks = createPartChecks(target, store, keyring)
  const check = (row: PartRow) => checks.check(row, checks.lookAtHeader)
  for await (const checked of checkParts(target, check)) checked.findings.forEach(findings.add)
}

/** Makes the names searchable that wait for the index. */
async function indexNames(
  { root, from, to }: Move,
  database: Database,
  { clock, signal, onProgress }: MoveOptions,
): Promise<void> {
  const store = to.store ?? from.store
  const keyring = await openKeyring(store, root)
  const core = createCore({ database, store, keyring, clock, ...to.config })
  await core.epochs.start()
  const waiting = () =>
    database.read
      .selectFrom('search_todo')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
  const { count: total } = await waiting()
  for (let turn = 1; !signal.aborted; turn += 1) {
    try {
      if (!(await core.accountFiles.indexNames())) return
    } catch (error) {
      // A name that does not open is a finding; the server goes on with the others.
      if (error instanceof CoreError && error.code === 'integrity') return
      throw error
    }
    if (turn % TURNS_TOLD === 0) onProgress('names', total - (await waiting()).count, total)
  }
}

/** Takes the old place out of use, then the new one into it. Safe to repeat. */
async function finish(
  { marker, from, to }: Move,
  done: DoneNote,
  meta: readonly MetaRow[],
): Promise<void> {
  if (to.store) {
    await noteDoneObjects(from.store, done)
    await failpoint('move.noted')
    if (to.config.blobs) await changeStoreMarker(to.store, marker)
  }
  if (hasFolder(to.config)) await putMarker(to.config.data, marker)
  await failpoint('move.marked')
  if (to.store) await removeBegunObject(to.store)
  await to.database?.write(async (writer) => {
    for (const { key, value } of meta) await putMeta(writer, key, value)
    await removeBegunRow(writer)
  })
}

const STARTED_AT = 'started_at'
const NOTHING = { objects: 0, bytes: 0 }
/** Turns of the index between two words about it. */
const TURNS_TOLD = 20

function whereTo({ to: { at, database, store } }: Move): string {
  const places = [...(database ? [at.rows] : []), ...(store ? [at.objects] : [])]
  return [...new Set(places)].join(' and ')
}

function reportOf(
  findings: Findings,
  counts: Omit<MoveReport, 'findings' | 'counts' | 'total'>,
): MoveReport {
  return { ...counts, findings: findings.list, counts: findings.counts, total: findings.total() }
}
