import type { Box } from '../../core/boxes/boxes.ts'
import type { BoxEvent } from '../../core/boxes/events.ts'
import type { Identity } from '../../core/people/identities.ts'

/** RFC 3339 in UTC. */
export function renderInstant(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}

/** @param transparent whether the viewer may see how the person is reached */
export function renderSender(identity: Identity | undefined, transparent: boolean) {
  if (!identity) return ANONYMOUS
  const { id, kind, profile } = identity
  const isPerson = kind === 'person'
  return {
    id,
    display_name: profile.displayName,
    avatar_url: profile.avatarUrl,
    identifier_value: transparent ? (isPerson ? profile.email : id) : '',
    identifier_kind: transparent ? (isPerson ? 'email' : 'org_id') : '',
  }
}

const ANONYMOUS = {
  id: 'anonymous-user',
  display_name: 'Anonymous User',
  avatar_url: null,
  identifier_value: '',
  identifier_kind: '',
}

/** Who looks at a box: its creator sees how members are reached, others only about themselves. */
export interface Viewer {
  readonly identityId: string
  readonly isCreator: boolean
  /** The files of the box that she has saved. */
  readonly saved: ReadonlySet<string>
}

function sender(identity: Identity | undefined, viewer: Omit<Viewer, 'saved'>) {
  return renderSender(identity, viewer.isCreator || identity?.id === viewer.identityId)
}

export function renderEvent(event: BoxEvent, viewer: Viewer) {
  return {
    type: event.type,
    content: renderContent(event, viewer),
    box_id: event.boxId,
    id: event.id,
    server_event_created_at: renderInstant(event.createdAt),
    referrer_id: event.referrerId,
    sender: sender(event.sender, viewer),
  }
}

function renderContent({ content, deleted }: BoxEvent, viewer: Viewer) {
  if (deleted) {
    return {
      deleted: {
        at_time: renderInstant(deleted.at),
        by_identity: sender(deleted.by, viewer),
      },
    }
  }
  switch (content?.type) {
    case 'msg.text':
      return {
        encrypted: content.encrypted,
        public_key: content.publicKey,
        ...(content.editedAt !== undefined && {
          last_edited_at: renderInstant(content.editedAt),
        }),
      }
    case 'msg.edit':
      return { new_encrypted: content.encrypted, new_public_key: content.publicKey }
    case 'msg.file':
      return {
        encrypted: content.encrypted,
        public_key: content.publicKey,
        encrypted_file_id: content.fileId,
        is_saved: viewer.saved.has(content.fileId),
      }
    case 'create':
      return {
        owner_org_id: content.ownerOrgId,
        public_key: content.publicKey,
        title: content.title,
      }
    case 'state.access_mode':
      return { value: content.value }
    case undefined:
      return null
  }
}

export function renderBox(box: Box, viewer: Viewer) {
  return {
    id: box.id,
    server_created_at: renderInstant(box.createdAt),
    owner_org_id: box.ownerOrgId,
    datatag_id: null,
    public_key: box.publicKey,
    title: box.title,
    access_mode: box.accessMode,
    subject: null,
    creator: sender(box.creator, viewer),
    last_event: renderEvent(box.lastEvent, viewer),
    events_count: box.newEvents,
    settings: { identity_id: viewer.identityId, box_id: box.id, muted: box.muted },
  }
}

/** A person as she sees herself. @param acr of her session: below 2 there is no account to speak of */
export function renderIdentity(identity: Identity, acr: number) {
  const { id, kind, accountId, profile } = identity
  const { pubkey, non_identified_pubkey, pubkey_aes_rsa, non_identified_pubkey_aes_rsa } =
    profile.publicKeys
  return {
    id,
    account_id: acr >= 2 ? accountId : null,
    identifier_value: kind === 'person' ? profile.email : id,
    identifier_kind: kind === 'person' ? 'email' : 'org_id',
    display_name: profile.displayName,
    notifications: profile.notifications,
    avatar_url: profile.avatarUrl,
    color: profile.color,
    level: 0,
    mfa_method: 'disabled',
    pubkey: pubkey ?? null,
    non_identified_pubkey: non_identified_pubkey ?? null,
    pubkey_aes_rsa: pubkey_aes_rsa ?? null,
    non_identified_pubkey_aes_rsa: non_identified_pubkey_aes_rsa ?? null,
    has_account: accountId !== null,
    has_totp_secret: false,
  }
}
