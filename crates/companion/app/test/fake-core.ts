// A core that makes nothing and checks nothing: Mei's journey as the screens see it, for tests and screenshots alone. It is
// imported from `test/` only, so no build of the app has it.
import type {
  Asking, BrandView, Change, Choice, ChosenRow, Companion, CoreError, EntryKind, FieldView, GrantState, GrantView, InvitationView,
  LinkView, Name, ProofView, PurposeView, RequestView, RowView, Settings, Status, StopProgress, TermsView, TextView, TimelineEntry,
} from '../src/core/index.ts'
import { Failed } from '../src/core/errors.ts'

export type Verb = Exclude<keyof Companion, 'status' | 'called' | 'watch' | 'setLanguage' | 'choose' | 'follow'>

/** What a scene shows: where Mei's day stands, and what goes wrong. */
export interface Scene {
  keys?: Status['keys']
  over?: Status['over']
  offline?: boolean
  queued?: number
  halted?: CoreError
  /** Verbs that fail, and how. */
  fails?: Partial<Record<Verb, CoreError>>
  /** Nothing was approved yet, or all has begun. */
  grants?: 'none' | 'flowing' | 'stopping' | 'late' | 'deleted' | 'queued' | 'refused' | 'paused' | 'suspended'
  requests?: 'none' | 'one' | 'unlinked' | 'english' | 'lapsed'
  /** The proof that does not hold. */
  proof?: 'holds' | 'first' | 'lie'
  transfers?: number
  link?: 'invited' | 'accepted' | 'confirmed'
}

/** 8 March 2013, the evening of Mei's flight, in New York. */
export const NOW = Date.UTC(2013, 2, 8, 22, 5)
const HOUR = 3_600_000
const hex = (seed: number) => Array.from({ length: 64 }, (_, at) => ((seed * 2654435761 + at * 40503 + at * at * seed) >>> (at % 13)).toString(16).slice(-1)).join('')
export const REQUEST: Name = `grantRequests/${hex(77)}`
export const GRANT = (number: number): Name => `grants/${hex(number)}`

const brand = (id: string, displayName: string, label: string, phone: string): BrandView => ({ name: `partners/${id}`, displayName, label, linked: true, phone })
const SKYLARK = brand('skylark', 'Skylark Air', 'mei@example.com', '+1 212 555 0140')
const HOPP = brand('hopp', 'Hopp Rides', 'Mei · +1 917 ••• ••21', '+1 212 555 0141')
const CHIRP = brand('chirp', 'Chirp', '@mei', '+1 212 555 0142')

type By = Readonly<Record<string, string>>
const FIELDS: Readonly<Record<string, By>> = {
  'trip.flight_no': { en: 'Flight number', 'zh-Hans': '航班号', ja: '便名' },
  'trip.airport': { en: 'Airport', 'zh-Hans': '机场', ja: '空港' },
  'trip.terminal': { en: 'Terminal', 'zh-Hans': '航站楼', ja: 'ターミナル' },
  'trip.eta': { en: 'Expected landing', 'zh-Hans': '预计降落时间', ja: '到着予定時刻' },
  'trip.gate': { en: 'Gate', 'zh-Hans': '登机口', ja: '搭乗口' },
  'trip.boarding_time': { en: 'Boarding time', 'zh-Hans': '登机时间', ja: '搭乗時刻' },
  'ride.status': { en: 'Ride status', 'zh-Hans': '行程状态', ja: '配車状況' },
  'ride.eta': { en: 'When your car arrives', 'zh-Hans': '车辆预计到达时间', ja: 'お迎え予定時刻' },
  'ride.plate_last3': { en: 'Last three of the number plate', 'zh-Hans': '车牌后三位', ja: 'ナンバーの下三桁' },
  'ride.dropoff_eta': { en: 'When you will be dropped off', 'zh-Hans': '预计送达时间', ja: '降車予定時刻' },
  'contact.reply_alias': { en: 'A one-time address for replies', 'zh-Hans': '一次性回复地址', ja: '返信用の一時アドレス' },
  'pickup.location': { en: 'Where you stand, when you tap', 'zh-Hans': '您点按时所在的位置', ja: 'タップした時の現在地' },
}
const PURPOSES: Readonly<Record<string, By>> = {
  pickup_planning: { en: 'Planning your pick-up', 'zh-Hans': '安排接机', ja: 'お迎えの手配' },
  ride_updates: { en: 'Ride updates in your chat', 'zh-Hans': '在聊天中接收行程动态', ja: 'チャットで配車状況をお知らせ' },
  driver_contact: { en: 'Letting your driver reach you', 'zh-Hans': '让司机联系到您', ja: 'ドライバーからの連絡' },
  trip_updates: { en: 'Trip updates in your chat', 'zh-Hans': '在聊天中接收航班动态', ja: 'チャットで便の変更をお知らせ' },
  missed_flight_help: { en: 'Help if you may miss your flight', 'zh-Hans': '可能误机时提供帮助', ja: '乗り遅れそうなときのサポート' },
}
const VALUES: Readonly<Record<string, string>> = {
  'trip.flight_no': 'SK 2183',
  'trip.airport': 'JFK, New York',
  'trip.terminal': '4',
  'trip.eta': '2013-03-08T23:40:00Z',
  'trip.gate': 'B22',
  'trip.boarding_time': '2013-03-08T20:55:00Z',
  'ride.status': 'REQUESTED',
  'ride.eta': '2013-03-09T00:05:00Z',
  'ride.plate_last3': '7KX',
  'ride.dropoff_eta': '2013-03-09T00:50:00Z',
  'contact.reply_alias': 'ride-48213@reply.chirp.example',
}

interface RowSource {
  source: BrandView
  recipient: BrandView
  purpose: string
  fields: readonly string[]
  addable?: readonly string[]
  uses: number
  hours: number
  kept: number
  kind: TermsView['benefitKind']
  texts: Readonly<Record<string, readonly [reason: string, benefit: string, ends: string]>>
}
const ROWS: readonly RowSource[] = [
  { source: SKYLARK, recipient: HOPP, purpose: 'pickup_planning', fields: ['trip.flight_no', 'trip.airport', 'trip.terminal', 'trip.eta'], addable: ['pickup.location'], uses: 12, hours: 48, kept: 86_400, kind: 'timely',
    texts: { en: ['So that your car comes when you land.', 'Late flight? Your driver waits 45 minutes, free.', 'landing + 24 h'], 'zh-Hans': ['让车辆在您落地时到达。', '航班晚点？司机免费等候45分钟。', '落地后24小时'], ja: ['到着に合わせてお迎えするため。', '遅延時も45分まで無料でお待ちします。', '到着後24時間'] } },
  { source: HOPP, recipient: CHIRP, purpose: 'ride_updates', fields: ['ride.status', 'ride.eta', 'ride.plate_last3'], uses: 20, hours: 48, kept: 86_400, kind: 'crossPlatform',
    texts: { en: ['So that your chat knows your car.', 'Ride updates in chat. No extra app.', 'ride + 2 h'], 'zh-Hans': ['让聊天知道您的车辆。', '聊天中接收行程动态，无需另装应用。', '行程后2小时'], ja: ['チャットで配車をお伝えするため。', '配車状況をチャットで。アプリ不要。', '乗車後2時間'] } },
  { source: CHIRP, recipient: HOPP, purpose: 'driver_contact', fields: ['contact.reply_alias'], uses: 1, hours: 48, kept: 86_400, kind: 'specialService',
    texts: { en: ['So that your driver can reach you.', 'Your driver can message you without your number.', 'ride end'], 'zh-Hans': ['让司机能联系到您。', '司机无需您的号码即可发消息。', '行程结束'], ja: ['運転手からご連絡するため。', '電話番号を伝えずに連絡できます。', '乗車終了'] } },
  { source: SKYLARK, recipient: CHIRP, purpose: 'trip_updates', fields: ['trip.gate', 'trip.boarding_time'], uses: 10, hours: 48, kept: 0, kind: 'timely',
    texts: { en: ['So that your chat knows your gate.', 'Gate changes reach you in chat.', 'departure'], 'zh-Hans': ['让聊天知道您的登机口。', '登机口变更会在聊天中通知您。', '起飞'], ja: ['搭乗口をお伝えするため。', '搭乗口の変更をチャットで。', '出発'] } },
  { source: HOPP, recipient: SKYLARK, purpose: 'missed_flight_help', fields: ['ride.status'], addable: ['ride.dropoff_eta'], uses: 6, hours: 48, kept: 86_400, kind: 'advice',
    texts: { en: ['So that we see you running late.', 'Stuck in traffic? Free rebooking.', 'gate close'], 'zh-Hans': ['让我们知道您可能迟到。', '遇上堵车？免费改签。', '登机口关闭'], ja: ['乗り遅れを早く知るため。', '渋滞でも無料で振替。', '搭乗締切'] } },
]

/** The day as `scene` has it. */
export function fakeCore(scene: Scene = {}, first: readonly string[] = ['en']): Companion {
  let language = first[0] ?? 'en'
  let status: Status = {
    keys: scene.keys ?? 'passkey',
    customer: 'customers/mei',
    online: !scene.offline,
    lastSeen: NOW - (scene.offline ? 26 * 60_000 : 0),
    queued: scene.queued ?? 0,
    ...(scene.over && { over: scene.over }),
    ...(scene.halted && { halted: scene.halted }),
    broker: { origin: 'broker.example/log', address: 'https://broker.example', logKey: 'broker.example/log+7f3a91c2+AcW0Wq…' },
  }
  let skipped = false
  const watchers = new Set<(change: Change) => void>()
  const tell = (...changes: Change['what'][]) => changes.forEach((what) => watchers.forEach((watcher) => watcher({ what } as Change)))
  const kind = scene.grants ?? 'flowing'
  const states = new Map<number, GrantState>()
  const stops = new Map<number, StopProgress>()
  let requestState: RequestView['state'] = scene.requests === 'lapsed' ? 'lapsed' : 'requested'
  let asking: Asking = { timeZone: 'America/New_York', quiet: { fromMinute: 22 * 60, untilMinute: 7 * 60 }, perDay: 0, perWeek: 0, paused: false }
  let linkState: LinkView['state'] = scene.link === 'confirmed' ? 'confirmed' : 'accepted'

  const pick = (texts: By) => texts[language] ?? texts['en'] ?? ''
  const field = (path: string): FieldView => ({
    path,
    title: pick(FIELDS[path] ?? { en: path }),
    fallback: false,
    provenance: path === 'ride.dropoff_eta' ? 'observed' : 'provided',
    needsTap: path === 'pickup.location',
  })
  const purpose = (code: string): PurposeView => ({ code, title: pick(PURPOSES[code] ?? { en: code }), fallback: false })
  const text = (row: RowSource): TextView => {
    const spoken = scene.requests === 'english' ? 'en' : language
    const [reason, benefit, ends] = row.texts[spoken] ?? row.texts['en'] ?? ['', '', '']
    return { language: spoken, fallback: spoken !== language, reason, benefit, ends }
  }
  const terms = (row: RowSource): TermsView => ({
    source: row.source,
    recipient: row.recipient,
    purpose: purpose(row.purpose),
    text: text(row),
    benefitKind: row.kind,
    uses: row.uses,
    rate: { uses: Math.min(row.uses, 4), windowSeconds: 60 },
    retentionSeconds: row.kept,
    law: 'Consent: GDPR Art. 6(1)(a)',
    controller: `${row.recipient.displayName} Inc., 2 Kerb Street, New York`,
    complaintBody: 'Your data protection authority',
    contactPhone: row.recipient.phone ?? '',
  })
  const request = (): RequestView => ({
    name: REQUEST,
    requester: SKYLARK,
    state: requestState,
    createdAt: NOW - HOUR,
    expires: NOW + 20 * HOUR,
    grants: [1, 2, 3, 4].map(GRANT),
    rows: ROWS.map((row, at): RowView => ({
      ...terms(row),
      number: at + 1,
      optional: at === 4,
      required: row.fields.map(field),
      addable: (row.addable ?? []).map(field),
      durationSeconds: row.hours * 3_600,
      missing: scene.requests === 'unlinked' && (row.source === CHIRP || row.recipient === CHIRP) ? [{ ...CHIRP, linked: false }] : [],
    })),
  })
  const progress = (number: number, verb: StopProgress['verb'], state: StopProgress['state']): StopProgress => ({
    grant: GRANT(number),
    verb,
    state,
    source: ROWS[number - 1]?.source ?? SKYLARK,
    ...(state === 'stopped' && { at: NOW - 20_000 }),
    ...(state !== 'queued' && state !== 'refused' && { proof: { index: 40_211 } }),
    ...(state === 'refused' && { error: { kind: 'refused', reason: 'OVERLOADED', code: 14, metadata: {} } as const }),
  })
  const grant = (number: number): GrantView => {
    const row = ROWS[number - 1] as RowSource
    const isFirst = number === 1
    const scenic: GrantState = isFirst && kind === 'paused' ? 'paused' : isFirst && kind === 'suspended' ? 'suspended' : number === 3 ? 'consumed' : isFirst && ['stopping', 'late', 'deleted'].includes(kind) ? 'withdrawn' : 'active'
    const state = states.get(number) ?? scenic
    const stop = stops.get(number) ?? (isFirst ? ({ stopping: progress(1, 'stop', 'recorded'), late: progress(1, 'stop', 'notConfirmed'), deleted: progress(1, 'stop', 'stopped'), queued: progress(1, 'stop', 'queued'), refused: progress(1, 'stop', 'refused') } as const)[kind as 'late'] : undefined)
    return {
      name: GRANT(number),
      terms: terms(row),
      fields: [...row.fields, ...(isFirst ? (row.addable ?? []) : [])].map(field),
      state,
      approvedAt: NOW - 3 * HOUR,
      expires: NOW + 45 * HOUR,
      useCount: [3, 5, 1, 2][number - 1] ?? 0,
      reason: state === 'suspended' ? 'MAINTENANCE' : '',
      request: REQUEST,
      code: ['7K3F-92QD', '4MX8-1TZE', 'A9RC-66WP', '0YVH-3JBN'][number - 1] ?? '',
      proof: { index: 40_180 + number },
      queued: isFirst && kind === 'queued',
      ...(stop && { stop }),
      ...(isFirst && (kind === 'late' || kind === 'deleted') && { erasure: { grant: GRANT(1), recipient: HOPP, due: NOW - HOUR, overdue: kind === 'late', ...(kind === 'deleted' && { attestedAt: NOW - 2 * HOUR }) } }),
    }
  }
  const numberOf = (name: Name) => [1, 2, 3, 4].find((number) => GRANT(number) === name)
  const entry = (index: number, at: number, what: EntryKind, row: number, more: Partial<TimelineEntry> = {}): TimelineEntry => {
    const { source, recipient, purpose: code, fields } = ROWS[row - 1] as RowSource
    return { index, at, kind: what, source, recipient, purpose: purpose(code), reason: '', grant: GRANT(row), fields: fields.map(field), useNumber: 0, proof: { index }, ...more }
  }
  const timeline = (): TimelineEntry[] => {
    const first = ROWS[0] as RowSource
    const day = [
      entry(40_205, NOW - 2 * 60_000, 'transfer', 1, { useNumber: 3 }),
      entry(40_204, NOW - 9 * 60_000, 'refused', 1, { reason: 'FIELD_NOT_GRANTED', fields: [] }),
      entry(40_203, NOW - 31 * 60_000, 'transfer', 4, { useNumber: 2 }),
      entry(40_202, NOW - 40 * 60_000, 'notice', 1, { fields: [] }),
      entry(40_201, NOW - 62 * 60_000, 'refused', 3, { reason: 'FREQUENCY_EXCEEDED', fields: [] }),
      entry(40_200, NOW - 70 * 60_000, 'refused', 2, { reason: 'PURPOSE_NOT_ALLOWED', fields: [] }),
      entry(40_198, NOW - 2 * HOUR, 'transfer', 1, { useNumber: 1, compared: first.fields.map((path) => ({ field: field(path), since: path === 'trip.eta' ? ('changed' as const) : ('same' as const) })) }),
      entry(40_184, NOW - 3 * HOUR, 'approved', 4, { fields: [] }),
      entry(40_181, NOW - 3 * HOUR, 'approved', 1, { fields: [] }),
      entry(40_170, NOW - 3.2 * HOUR, 'previewed', 1),
      entry(40_120, NOW - 26 * HOUR, 'linkConfirmed', 1, { fields: [] }),
      entry(40_119, NOW - 26 * HOUR, 'customerCreated', 1, { fields: [] }),
    ].map((one) => (one.kind === 'customerCreated' || one.kind === 'linkConfirmed' ? without(one) : one))
    const many = Array.from({ length: scene.transfers ?? 0 }, (_, at) => entry(40_000 - at, NOW - 27 * HOUR - at * 240_000, at % 9 === 4 ? 'refused' : 'transfer', (at % 4) + 1, { useNumber: at % 9 === 4 ? 0 : at + 1, reason: at % 9 === 4 ? 'FREQUENCY_EXCEEDED' : '' }))
    return [...day, ...many]
  }
  const without = (one: TimelineEntry): TimelineEntry => {
    const { recipient: _recipient, purpose: _purpose, grant: _grant, ...rest } = one
    return rest
  }
  const change = (name: Name, verb: StopProgress['verb'], state: GrantState): StopProgress => {
    const number = numberOf(name) ?? 1
    const done = progress(number, verb, scene.offline ? 'queued' : 'recorded')
    if (!scene.offline) states.set(number, state)
    stops.set(number, done)
    tell('grants', 'timeline')
    return done
  }
  const invited: InvitationView = { brand: { ...SKYLARK, linked: false }, label: 'mei@example.com', expires: NOW + 8 * 60_000, replaces: false }
  const link = (): LinkView => ({ name: `links/${hex(5)}`, brand: SKYLARK, label: 'mei@example.com', code: linkState === 'confirmed' ? '' : '482915', state: linkState, expires: NOW + 8 * 60_000 })
  const proof = (index: number): ProofView => {
    const lie: CoreError = { kind: 'misbehaved', who: 'broker', what: 'receipt', check: 'inclusion' }
    const bad = scene.proof === 'lie'
    return {
      holds: !bad,
      steps: [
        { check: 'signature', result: 'holds' },
        bad ? { check: 'inclusion', result: 'fails', error: lie } : { check: 'inclusion', result: 'holds' },
        { check: 'consistency', result: bad ? 'notChecked' : scene.proof === 'first' ? 'first' : 'holds' },
        { check: 'commitments', result: bad ? 'notChecked' : 'holds' },
        { check: 'statement', result: bad ? 'notChecked' : 'holds' },
      ],
      index,
      size: 40_212,
      root: hex(901),
      leaf: hex(902),
      recordedAt: NOW - 2 * 60_000,
      file: 'c2sp.org/tlog-proof@v1\n',
    }
  }

  const core: Companion = {
    status: () => status,
    called: (partner) => [SKYLARK, HOPP, CHIRP].find(({ name }) => name === partner)?.displayName ?? partner,
    setLanguage: (languages) => {
      language = languages[0] ?? 'en'
    },
    watch: (callback) => {
      watchers.add(callback)
      return () => void watchers.delete(callback)
    },
    firstUse: async (where) => {
      status = { ...status, keys: where }
      tell('status')
    },
    unlock: async () => {
      status = { ...status, keys: 'passkey' }
      tell('status')
    },
    readInvitation: async () => invited,
    acceptInvitation: async () => link(),
    links: async () => (scene.link === undefined && kind === 'none' && scene.requests === 'none' ? [] : [...(scene.link ? [link()] : []), ...[SKYLARK, HOPP, CHIRP].map((one, at): LinkView => ({ name: `links/${hex(20 + at)}`, brand: one, label: one.label ?? '', code: '', state: 'confirmed', expires: NOW }))]),
    seen: async () => undefined,
    requests: async () => (scene.requests === 'none' ? [] : [{ name: REQUEST, requester: SKYLARK, state: requestState, rows: 5, createdAt: NOW - HOUR, expires: NOW + 20 * HOUR }]),
    readRequest: async () => request(),
    choose: (of, choice) => chosen(of, choice),
    approve: async () => {
      requestState = 'approved'
      tell('requests', 'grants')
      return core.receipt(REQUEST)
    },
    refuse: async () => {
      requestState = 'refused'
      tell('requests')
    },
    defer: async () => {
      requestState = 'deferred'
      tell('requests')
    },
    preview: async (of, number) => {
      const row = of.rows[number - 1] as RowView
      const shown = [...row.required, ...row.addable]
      return { row: number, values: shown.filter((one) => !one.needsTap).map((one) => ({ field: one, value: VALUES[one.path] ?? '' })), onTap: shown.filter((one) => one.needsTap), at: NOW, proof: { index: 40_170 } }
    },
    receipt: async () => ({
      request: REQUEST,
      approvedAt: NOW - 3 * HOUR,
      requester: SKYLARK,
      rows: [1, 2, 3, 4].map(grant).map((one) => ({ grant: one.name, code: one.code, terms: one.terms, fields: one.fields, expires: one.expires, proof: one.proof ?? { index: 0 } })),
      file: async () => new Blob(['{}']),
    }),
    grants: async () => (kind === 'none' ? [] : [1, 2, 3, 4].map(grant)),
    grant: async (name) => {
      const number = numberOf(name)
      if (number === undefined) throw new Failed({ kind: 'notNow', name, problem: 'unknown' })
      return grant(number)
    },
    pause: async (name) => change(name, 'pause', 'paused'),
    resume: async (name) => change(name, 'resume', 'active'),
    stop: async (name) => change(name, 'stop', 'withdrawn'),
    stopAll: async () => ({ each: [1, 2, 4].map((number) => change(GRANT(number), 'stop', 'withdrawn')) }),
    follow: () => () => undefined,
    narrow: async (name) => core.grant(name),
    tap: async () => ({ expires: NOW + 300_000 }),
    erasures: async () => [],
    timeline: async (query = {}) => {
      const from = Number(query.cursor ?? 0)
      const all = kind === 'none' && scene.transfers === undefined ? [] : timeline()
      const fits = all.filter((one) => (query.grant === undefined || one.grant === query.grant) && (query.filter === undefined || query.filter === 'all' || query.filter === groupOf(one.kind)))
      const page = fits.slice(from, from + 100)
      // A page may be empty in the middle: a filter has passed over all that it held.
      const empty = from === 100 && !skipped
      skipped ||= empty
      return { entries: empty ? [] : page, ...((empty || from + 100 < fits.length) && { next: String(empty ? from : from + 100) }) }
    },
    proofOf: async ({ index }) => proof(index),
    settings: async (): Promise<Settings> => ({
      asking,
      silences: [{ brand: CHIRP, until: NOW + 60 * 24 * HOUR }],
      authenticators: [
        { id: hex(31), label: 'My first passkey', addedAt: NOW - 26 * HOUR, thisDevice: true },
        { id: hex(32), label: 'Security key', addedAt: NOW - 25 * HOUR, thisDevice: false },
      ],
      phones: [SKYLARK, HOPP, CHIRP].map((one) => ({ brand: one, phone: one.phone ?? '' })),
    }),
    setAsking: async (next) => {
      asking = next
      tell('settings')
    },
    endSilence: async () => tell('settings'),
    addAuthenticator: async (label) => ({ id: hex(33), label, addedAt: NOW, thisDevice: true }),
    removeAuthenticator: async () => tell('settings'),
    reportStolen: async () => {
      status = { ...status, keys: 'over', over: { how: 'stolen', index: 40_230, left: [] } }
      tell('status')
      return { each: [] }
    },
    exportAll: async () => new Blob(['{}']),
    closeAccount: async (options) => (options?.anyway ? { state: 'closed', unheard: [], notStopped: [] } : { state: 'waits', unheard: [{ grant: GRANT(1), brand: SKYLARK }], notStopped: [] }),
    forget: async () => {
      status = { ...status, keys: 'none' }
      tell('status')
    },
  }
  for (const [verb, error] of Object.entries(scene.fails ?? {}) as [Verb, CoreError][]) {
    Object.assign(core, { [verb]: () => Promise.reject(new Failed(error)) })
  }
  return core
}

const groupOf = (kind: EntryKind) => (kind === 'transfer' || kind === 'again' ? 'transfers' : kind === 'refused' || kind === 'notReleased' ? 'refusals' : 'changes')

function chosen(of: RequestView, choice: Choice): ChosenRow[] {
  return of.rows
    .filter((row) => !row.optional || choice.rows.includes(row.number))
    .map((row) => {
      const cut = choice.changed?.[row.number] ?? {}
      return {
        number: row.number,
        fields: [...row.required, ...row.addable.filter((one) => cut.fields?.includes(one.path))],
        uses: cut.uses ?? row.uses,
        ...(row.rate && { rate: row.rate }),
        retentionSeconds: cut.retentionSeconds ?? row.retentionSeconds,
        expires: NOW + (cut.durationSeconds ?? row.durationSeconds) * 1000,
      }
    })
}
