import type { Generated, Insertable, Selectable } from 'kysely'
import type { FindingKind } from './checks/findings.ts'

/**
 * The tables, as TypeScript sees them. What every table and column means is written in
 * `docs/database.md`; a test holds that page against the migrated database.
 */
export interface Schema {
  meta: MetaTable
  epoch: EpochTable
  rekey_object: RekeyObjectTable
  identity: IdentityTable
  session: SessionTable
  api_token: ApiTokenTable
  company: CompanyTable
  company_member: CompanyMemberTable
  blob: BlobTable
  blob_part: BlobPartTable
  small_content: SmallContentTable
  box: BoxTable
  box_member: BoxMemberTable
  box_event: BoxEventTable
  box_key_share: BoxKeyShareTable
  saved_file: SavedFileTable
  quotum: QuotumTable
  company_file: CompanyFileTable
  company_upload: CompanyUploadTable
  preview: PreviewTable
  preview_job: PreviewJobTable
  category: CategoryTable
  account_file: AccountFileTable
  account_usage: AccountUsageTable
  search_todo: SearchTodoTable
  pin: PinTable
  pin_failure: PinFailureTable
  pin_key: PinKeyTable
  download: DownloadTable
  download_file: DownloadFileTable
  scrub_finding: ScrubFindingTable
  server_process: ServerProcessTable
  staged_object: StagedObjectTable
  lease: LeaseTable
  request_window: RequestWindowTable
}

declare const sealedAs: unique symbol
/** A sealed column: bytes that only `SealedColumn<T>` makes and opens, so that no text gets in by mistake. */
export type Sealed<T> = Uint8Array & { readonly [sealedAs]: T }

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number

export interface MetaTable {
  key: string
  value: string
}

/**
 * Its keys are in the keyring and processes load them; what is stored now is sealed to it; it still
 * opens what was sealed to it; nothing was left of it and its keys are gone.
 */
export type EpochState = 'announced' | 'current' | 'old' | 'dropped'

export interface EpochTable {
  number: number
  state: EpochState
  created_at: Instant
}

export interface RekeyObjectTable {
  object: string
}

export type IdentityKind = 'person' | 'application' | 'organisation'

/** The human text of an identity, all of it sealed in one value. */
export interface IdentityProfile {
  email: string | null
  displayName: string
  avatarUrl: string | null
  /** IANA name. */
  timeZone: string
  notifications: 'minimal' | 'moderate' | 'frequent'
  color: string | null
  /** Public keys that the person's client published, by the name the client gave them. */
  publicKeys: Partial<Record<string, string>>
}

export interface IdentityTable {
  id: string
  kind: IdentityKind
  account_id: string | null
  email_index: Uint8Array | null
  sealed: Sealed<IdentityProfile>
  created_at: Instant
}

/** Assurance: 1 e-mailed code, 2 password, 3 one-time code, 4 passkey. */
export type Acr = 1 | 2 | 3 | 4

export interface SessionTable {
  id: string
  token_hash: Uint8Array
  identity_id: string
  acr: Acr
  created_at: Instant
  expires_at: Instant
}

export interface ApiTokenTable {
  id: string
  identity_id: string
  token_hash: Uint8Array
  sealed: Sealed<{ name: string }>
  created_at: Instant
  last_used_at: Instant | null
  expires_at: Instant | null
}

export interface CompanyTable {
  id: string
  sealed: Sealed<{ name: string }>
  created_at: Instant
}

export type CompanyRole = 'owner' | 'manager' | 'member' | 'application'

export interface CompanyMemberTable {
  company_id: string
  identity_id: string
  role: CompanyRole
  created_at: Instant
}

/** What a blob of parts must be as a whole, so that none can be taken away. */
export interface BlobSeal {
  parts: number
  /** Bytes of content. */
  size: number
}

export interface BlobTable {
  id: string
  state: 'receiving' | 'stored' | 'deleting'
  size: number
  created_at: Instant
  sealed: Sealed<BlobSeal> | null
  /** Of one that is being deleted: until then its bytes wait for those who read them. */
  kept_until: Generated<Instant | null>
}

/** What a part must be, held against the stored object before its first byte is used. */
export interface PartSeal {
  /** SHA-256 over age header and payload nonce, base64. */
  digest: string
  plainSize: number
  sealedSize: number
}

export interface BlobPartTable {
  blob_id: string
  number: number
  plain_size: number
  sealed_size: number
  epoch: number
  object: string
  sealed: Sealed<PartSeal>
}

export interface SmallContentTable {
  blob_id: string
  sealed: Sealed<Uint8Array>
}

export type AccessMode = 'limited' | 'public'

/** The human text of a box. */
export interface BoxText {
  title: string
  publicKey: string
}

export interface BoxTable {
  id: string
  owner_org_id: string
  creator_id: string
  access_mode: AccessMode
  last_event: number
  used_bytes: number | null
  sealed: Sealed<BoxText>
  created_at: Instant
}

export interface BoxMemberTable {
  box_id: string
  identity_id: string
  muted: 0 | 1
  seen_event: number
  joined_at: Instant
}

export type BoxEventType =
  | 'create'
  | 'msg.text'
  | 'msg.file'
  | 'msg.edit'
  | 'msg.delete'
  | 'member.join'
  | 'member.leave'
  | 'state.access_mode'
  | 'state.key_share'

/** In the sealed column of a row that links to a blob: the link cannot be turned to another one. */
export interface BlobLink {
  /** Missing in rows that were sealed before it was recorded. */
  blobId?: string
}

/** Content that the sender's client encrypted, and the key it was encrypted to. */
export interface EncryptedMessage {
  encrypted: string
  publicKey: string
}

/** What an event says, by type; the types that are not named say nothing. */
export type EventContent =
  | ({ type: 'msg.text'; editedAt?: Instant } & EncryptedMessage)
  | ({ type: 'msg.file'; fileId: string } & EncryptedMessage)
  | ({ type: 'msg.edit' } & EncryptedMessage)
  | { type: 'create'; ownerOrgId: string; publicKey: string; title: string }
  | { type: 'state.access_mode'; value: AccessMode }

export interface BoxEventTable {
  n: Generated<number>
  id: string
  box_id: string
  type: BoxEventType
  sender_id: string
  referrer_id: string | null
  blob_id: string | null
  size: number
  sealed: Sealed<EventContent> | null
  created_at: Instant
  deleted_at: Instant | null
  deleted_by: string | null
}

export interface KeyShare {
  misakeyShare: string
  encryptedInvitationKeyShare: string
}

export interface BoxKeyShareTable {
  hash: string
  box_id: string
  sealed: Sealed<KeyShare>
  created_at: Instant
}

/** What a client encrypted about a file that it keeps; both verbatim. */
export interface SavedFileText {
  encryptedMetadata: string
  keyFingerprint: string
}

export interface SavedFileTable {
  n: Generated<number>
  id: string
  identity_id: string
  blob_id: string
  sealed: Sealed<SavedFileText & BlobLink>
  created_at: Instant
}

export interface QuotumTable {
  id: string
  identity_id: string
  value: number
  origin: 'base'
  created_at: Instant
}

export interface CategoryTable {
  id: string
  owner_id: string
  sealed: Sealed<{ name: string }>
  created_at: Instant
}

/** What a file of an account is called and is. */
export interface AccountFileText {
  /** As it is shown; without path separators and control characters. */
  fullName: string
  /** As the client gave it. */
  givenName: string
  /** Media type. */
  type: string
}

export interface AccountFileTable {
  n: Generated<number>
  id: string
  owner_id: string
  category_id: string
  blob_id: string | null
  disk: string
  size: number
  encrypted_size: number
  sealed: Sealed<AccountFileText & BlobLink>
  created_at: Instant
  trashed_at: Instant | null
}

export interface AccountUsageTable {
  owner_id: string
  files: number
  trashed: number
  bytes: number
}

export interface SearchTodoTable {
  n: number
  owner_id: string
}

/** Argon2id of a PIN, with its own parameters. */
export interface PinHash {
  /** Base64, like `tag`. */
  salt: string
  tag: string
  /** KiB. */
  memory: number
  passes: number
}

export interface PinTable {
  identity_id: string
  sealed: Sealed<PinHash>
  created_at: Instant
}

export interface PinFailureTable {
  identity_id: string
  address_index: Uint8Array
  failures: number
  until: Instant
}

export interface PinKeyTable {
  key_hash: Uint8Array
  identity_id: string
  expires_at: Instant
}

export interface DownloadTable {
  id: string
  identity_id: string
  key_hash: Uint8Array | null
  created_at: Instant
  expires_at: Instant
  busy_until: Instant
}

export interface DownloadFileTable {
  download_id: string
  position: number
  file_id: string
}

/** What a company file is called and is. */
export interface CompanyFileText {
  name: string
  /** Media type. */
  mime: string
}

export interface CompanyFileTable {
  id: string
  company_id: string
  maker_id: string
  blob_id: string | null
  chunks: number | null
  sealed: Sealed<CompanyFileText & BlobLink> | null
  created_at: Instant
  updated_at: Instant
}

/** Who said what a file is called or is; who stands further down is believed rather. */
export type ToldBy = 'part' | 'init' | 'chunk'

export interface Told {
  text: string
  by: ToldBy
}

/** What was said of a file whose content is not whole. */
export interface CompanyUploadText {
  name: Told | null
  mime: Told | null
}

export interface CompanyUploadTable {
  file_id: string
  blob_id: string
  maker_id: string
  total_chunks: number | null
  total_size: number | null
  differs: 0 | 1
  sealed: Sealed<CompanyUploadText & BlobLink>
  expires_at: Instant
}

/** What a scrub found and none has found well since. */
export interface ScrubFindingTable {
  blob_id: string
  /** Of the part; 0 is content in the database. */
  number: number
  kind: FindingKind
  object: string | null
  message: string
}

/** What a preview is. */
export interface PreviewText {
  /** Media type. */
  type: string
  /** Pixels, like `height`. */
  width: number
  height: number
}

export interface PreviewTable {
  file_id: string
  position: number
  blob_id: string
  sealed: Sealed<PreviewText & BlobLink>
}

export interface PreviewJobTable {
  file_id: string
  blob_id: string
  state: 'waiting' | 'failed'
  slow: 0 | 1
  attempts: number
  leased_until: Instant
  lease_owner: string | null
  created_at: Instant
}

export interface ServerProcessTable {
  id: string
  started_at: Instant
  heard_at: Instant
}

export interface StagedObjectTable {
  object: string
  process_id: string
}

export interface LeaseTable {
  name: string
  holder: string
  until: Instant
}

export interface RequestWindowTable {
  address_index: Uint8Array
  requests: number
  until: Instant
}

export type Row<Table extends keyof Schema> = Selectable<Schema[Table]>
export type NewRow<Table extends keyof Schema> = Insertable<Schema[Table]>
