import type { KeyKind } from '@holdfast/seal'
import { createDownloads, type Downloads } from './account-files/downloads.ts'
import { type AccountFiles, createAccountFiles } from './account-files/files.ts'
import { type AccountList, createAccountList } from './account-files/list.ts'
import { createNameSearch } from './account-files/name-search.ts'
import { createPins, type Pins } from './account-files/pins.ts'
import { type Blobs, createBlobs } from './blobs/blobs.ts'
import { createReceivedBlobs } from './blobs/received.ts'
import { rememberStaged } from './blobs/staged.ts'
import type { BlobStore } from './blobs/store.ts'
import { type SweepReport, sweep } from './blobs/sweep.ts'
import { type Boxes, createBoxes } from './boxes/boxes.ts'
import { createEventLog } from './boxes/events.ts'
import { type BoxFiles, createBoxFiles } from './boxes/files.ts'
import { type BoxKeyShares, createBoxKeyShares } from './boxes/key-shares.ts'
import { type BoxMessages, createBoxMessages } from './boxes/messages.ts'
import { type Checks, createChecks } from './checks/checks.ts'
import type { Clock, SharedClock } from './clock.ts'
import { type CompanyChunks, createCompanyChunks } from './company-files/chunks.ts'
import { createCompanyContent } from './company-files/content.ts'
import { type CompanyFiles, createCompanyFiles } from './company-files/files.ts'
import { createCompanyQuota } from './company-files/quota.ts'
import { createCompanyRecords } from './company-files/records.ts'
import { type CompanyUploads, createCompanyUploads } from './company-files/uploads.ts'
import type { Database } from './database.ts'
import { createEpochs, type Epochs, sealingToRecorded } from './keys/epochs.ts'
import type { EpochKeyring } from './keys/keyring.ts'
import { createLinks, type Links } from './keys/signed-links.ts'
import { type Companies, createCompanies } from './people/companies.ts'
import { createIdentities, type Identities } from './people/identities.ts'
import { createSessions, type Sessions } from './people/sessions.ts'
import { type ApiTokens, createApiTokens } from './people/tokens.ts'
import type { PreviewKind } from './previews/formats.ts'
import { createPreviewJobs, type PreviewJobs } from './previews/jobs.ts'
import { createPreviews } from './previews/previews.ts'
import { createLease, type Lease } from './processes/lease.ts'
import { createProcesses, type Processes } from './processes/processes.ts'
import { createRequestCounts, type RequestCounts } from './processes/request-counts.ts'
import { createRekey, type Rekey } from './rekey/rekey.ts'
import { createQuotas, type QuotaRules, type Quotas } from './saved-files/quotas.ts'
import { createSavedFiles, type SavedFiles } from './saved-files/saved-files.ts'

/** What the core is made of; whoever makes it closes it. */
export interface CoreParts {
  database: Database
  store: BlobStore
  keyring: EpochKeyring
  clock: Clock
  /** In a server that is not alone on its store: what `clock` goes by. */
  sharedClock?: SharedClock | undefined
  /** Of new epochs. */
  recipient: KeyKind
  /** Content up to so many bytes lives in the database. */
  smallLimit: number
  quotaRules: QuotaRules
  /** Bytes that the files of one company may take, or undefined for any number. */
  companyQuota: number | undefined
  /** Milliseconds after which an upload that nobody goes on with is forgotten. */
  uploadExpiry: number
  /** Bytes; larger files get no previews. 0 makes none at all. */
  previewMax: number
  /** What this process makes previews of. */
  previewKinds?: readonly PreviewKind[]
}

/** Everything Holdfast does, without HTTP: what dialects and commands call. */
export interface Core {
  readonly identities: Identities
  readonly sessions: Sessions
  readonly tokens: ApiTokens
  readonly companies: Companies
  readonly blobs: Blobs
  readonly boxes: Boxes
  readonly boxMessages: BoxMessages
  readonly boxKeyShares: BoxKeyShares
  readonly boxFiles: BoxFiles
  readonly savedFiles: SavedFiles
  readonly quotas: Quotas
  readonly accountFiles: AccountFiles
  readonly accountList: AccountList
  readonly pins: Pins
  readonly downloads: Downloads
  readonly companyFiles: CompanyFiles
  readonly companyUploads: CompanyUploads
  readonly companyChunks: CompanyChunks
  readonly previewJobs: PreviewJobs
  readonly links: Links
  readonly epochs: Epochs
  readonly rekey: Rekey
  readonly checks: Checks
  /** The servers on this store; undefined where there is one at most. */
  readonly processes: Processes | undefined
  /** Which of them does what no request waits for; undefined as above. */
  readonly jobsLease: Lease | undefined
  /** What they count together; undefined as above. */
  readonly requestCounts: RequestCounts | undefined
  /** The time that everything here goes by. */
  readonly clock: Clock
  /**
   * @param startedAt milliseconds since the epoch: what is younger is left alone, where this is the only
   *   server
   */
  sweep(startedAt: number): Promise<SweepReport>
  /** Removes what unfinished uploads of other processes left in the store. For the server alone. */
  clearUnfinished(): Promise<void>
  /** @throws CoreError storage_unavailable when stored bytes or the database are out of reach */
  checkStore(): Promise<void>
}

export function createCore(given: CoreParts): Core {
  const parts = { ...given, database: sealingToRecorded(given.database, given.keyring) }
  const { database, keyring, clock, smallLimit, quotaRules } = parts
  const identities = createIdentities(database, keyring, clock)
  const tokens = createApiTokens(database, keyring, clock)
  const companies = createCompanies(database, keyring, clock, identities, tokens)
  const { sharedClock } = parts
  const { store, staged } = rememberStaged(parts.store, clock, () => processes?.id)
  const processes = sharedClock && createProcesses(given.database, sharedClock, staged)
  const isShared = processes !== undefined
  const blobs = createBlobs(database, store, staged, keyring, clock, smallLimit, isShared)
  const log = createEventLog(database, keyring, clock, identities)
  const quotas = createQuotas(database, clock, quotaRules)
  const keyShares = createBoxKeyShares(database, keyring, clock, log)
  const search = createNameSearch(keyring, database.nameIndex)
  const accountFiles = createAccountFiles({ database, keyring, clock, blobs, search })
  const pins = createPins(database, keyring, clock)
  const epochs = createEpochs(database, keyring, clock, parts.recipient)
  const company = createCompanyParts({ ...parts, store }, companies, blobs)
  return {
    identities,
    sessions: createSessions(database, clock),
    tokens,
    companies,
    blobs,
    boxes: createBoxes({
      database,
      keyring,
      clock,
      identities,
      companies,
      blobs,
      log,
      keyShares,
    }),
    boxMessages: createBoxMessages(keyring, blobs, log, quotas),
    boxKeyShares: keyShares,
    boxFiles: createBoxFiles(database, keyring),
    savedFiles: createSavedFiles(database, keyring, clock, blobs, quotas),
    quotas,
    accountFiles,
    accountList: createAccountList(database, accountFiles, search),
    pins,
    downloads: createDownloads(database, clock, accountFiles, pins),
    ...company,
    links: createLinks(keyring, clock),
    epochs,
    rekey: createRekey(database, parts.store, keyring, epochs),
    processes,
    requestCounts:
      isShared && database.requestWindows
        ? createRequestCounts(database.requestWindows, keyring, clock)
        : undefined,
    jobsLease: isShared ? createLease(given.database, clock, 'jobs') : undefined,
    clock,
    sweep: (startedAt) =>
      sweep({ database, store, staged, blobs, clock }, isShared ? clock() : startedAt),
    checks: createChecks({ database, store, keyring, blobs, clock }),
    clearUnfinished: async () => {
      await store.clearUnfinished()
    },
    async checkStore() {
      await database.read.selectFrom('meta').select('key').limit(1).execute()
      await store.check()
    },
  }
}

/** Files of companies and what they share among themselves. */
function createCompanyParts(parts: CoreParts, companies: Companies, blobs: Blobs) {
  const { database, store, keyring, clock, uploadExpiry } = parts
  const previews = createPreviews(keyring, clock, {
    maxBytes: parts.previewMax,
    kinds: parts.previewKinds ?? [],
  })
  const previewJobs = createPreviewJobs({ database, keyring, clock, blobs, previews })
  const records = createCompanyRecords(database, keyring, clock, companies, previews)
  const quota = createCompanyQuota(parts.companyQuota)
  const received = createReceivedBlobs(database, store, keyring, clock)
  const content = createCompanyContent(database, blobs, received, records)
  const shared = {
    ...{ database, clock, blobs, received, records, quota, content, uploadExpiry },
    ...{ previews, previewJobs },
  }
  const companyUploads = createCompanyUploads(shared)
  return {
    companyFiles: createCompanyFiles(shared),
    companyUploads,
    companyChunks: createCompanyChunks({ ...shared, uploads: companyUploads }),
    previewJobs,
  }
}
