// Receipts (protocol, sections 10 and 12): that a record stands in the log, and that it says what happened.
import { fromBinary } from '@bufbuild/protobuf'

import { Kind, RecordSchema, Result, type Record } from '../gen/countersign/log/v1/record_pb.ts'
import type { Receipt } from '../gen/countersign/v1/receipt_pb.ts'
import { equal, fieldList, utf8, type Bytes } from './bytes.ts'
import { Refusal } from './refusal.ts'
import { checkInclusion, commitment, leafHash, MOST_PATH, type Head } from './log.ts'

/** A record that stands in the log: only `prove` makes one. */
export interface ProvenLeaf {
  readonly record: Record
  readonly index: bigint
  readonly head: Head
  readonly leaf: Bytes
  readonly receipt: Receipt
}

/** What opens the commitments must open to; what is absent is not looked at. */
export interface Opens {
  subject?: string
  fields?: readonly string[]
  evidence?: readonly Uint8Array[]
}

/** What the record must say. Times are Unix milliseconds. */
export interface Saying extends Opens {
  kinds: readonly Kind[]
  source: string
  recipient: string
  purpose: string
  catalogueVersion: Uint8Array
  grantTag: Uint8Array
  useLimit?: number
  notBefore: number
  notAfter: number
}

const refuse = (check: string): never => {
  throw new Refusal(check)
}

export function readRecord(bytes: Uint8Array): Record {
  let record: Record
  try {
    record = fromBinary(RecordSchema, bytes)
  } catch {
    return refuse('record')
  }
  return record.version === 1 ? record : refuse('version')
}

/** The record stands under this head, which is verified already. */
export async function prove(receipt: Receipt | undefined, verified: (note: Uint8Array) => Promise<Head>): Promise<ProvenLeaf> {
  if (!receipt) return refuse('present')
  const head = await verified(receipt.checkpoint)
  const path = receipt.path.slice(0, MOST_PATH + 1)
  if (!path.every((hash) => hash.length === 32)) refuse('path')
  const leaf = await leafHash(receipt.record)
  if (await checkInclusion(receipt.index, head.size, leaf, path, head.root)) refuse('inclusion')
  return { record: readRecord(receipt.record), index: receipt.index, head, leaf, receipt }
}

/** Throws the check that fails. */
export async function says(leaf: ProvenLeaf, saying: Saying): Promise<void> {
  const { record } = leaf
  const time = Number(record.timeMs)
  const transfer = record.kind === Kind.TRANSFER
  const checks: [string, boolean][] = [
    ['kind', saying.kinds.includes(record.kind)],
    ['source', record.source === saying.source],
    ['recipient', record.recipient === saying.recipient],
    ['purpose', record.purpose === saying.purpose],
    ['catalogue_version', equal(record.catalogueVersion, saying.catalogueVersion)],
    ['grant_tag', equal(record.grantTag, saying.grantTag)],
    ['time', time >= saying.notBefore && time <= saying.notAfter],
    ['result', !transfer || record.result === Result.RELEASED || record.result === Result.REPEATED],
    ['use_number', !transfer || (record.useNumber >= 1n && (saying.useLimit === undefined || record.useNumber <= BigInt(saying.useLimit)))],
  ]
  for (const [check, good] of checks) if (!good) refuse(check)
  await opens(leaf, saying)
}

/** Of a customer alone: the kind, whom, and the statement on which it rests. */
export async function saysOfCustomer(leaf: ProvenLeaf, kind: Kind, subject: string, statement: Uint8Array, notBefore: number, notAfter: number): Promise<void> {
  const time = Number(leaf.record.timeMs)
  if (leaf.record.kind !== kind) refuse('kind')
  if (time < notBefore || time > notAfter) refuse('time')
  await opens(leaf, { subject, evidence: [statement] })
}

export async function opens({ record, receipt }: Pick<ProvenLeaf, 'record' | 'receipt'>, what: Opens): Promise<void> {
  const { subject, fields, evidence } = what
  const check = async (name: 'fields' | 'evidence' | 'subject', salt: Uint8Array, found: Uint8Array, bytes: readonly Uint8Array[]) => {
    if (salt.length !== 32 || !equal(await commitment(name, salt, ...bytes), found)) refuse(name)
  }
  if (fields) await check('fields', receipt.fieldsSalt, record.fieldsCommitment, [fieldList(fields)])
  if (evidence) await check('evidence', receipt.evidenceSalt, record.evidenceCommitment, evidence)
  if (subject !== undefined) await check('subject', receipt.subjectSalt, record.subjectCommitment, [utf8(subject)])
}
