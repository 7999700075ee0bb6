// What nobody but the broker vouches for, by file: the same list as every export has (`docs/export.md`).
export const BROKERS_WORD = {
  'customer.json': ['create_time', 'asking', 'silences'],
  'links.json': ['link.state'],
  'requests.json': [
    'shown', 'request.state', 'request.create_time', 'request.grants', 'request.shown_time', 'request.offers.source_display_name',
    'request.offers.recipient_display_name',
  ],
  'grants.json': [
    'grant.state', 'grant.use_count', 'grant.create_time', 'grant.suspended_by_source', 'grant.suspended_by_operator', 'grant.reason', 'grant.successor',
  ],
  'events.json': [
    'event.grant', 'event.grant_request', 'event.link', 'event.subject', 'event.resource', 'event.successor', 'event.erase_due_time', 'event.erased',
    'event.erasure_order',
  ],
}
