/**
 * Every error code of Holdfast, its HTTP status, whether trying again unchanged can help, and what it means.
 * `docs/errors.md` lists the same codes; a test compares the two both ways.
 */

export interface ErrorEntry {
  readonly statusCode: number;
  readonly retryable: boolean;
  readonly meaning: string;
}

const define = <Table extends Record<string, ErrorEntry>>(table: Table): Table => table;

export const errorTable = define({
  // Requests
  HF_UNAUTHENTICATED: {
    statusCode: 401,
    retryable: false,
    meaning: 'No token, or one that is not valid here.',
  },
  HF_FORBIDDEN: {
    statusCode: 403,
    retryable: false,
    meaning: 'The token is valid but its scope does not allow this.',
  },
  HF_NOT_FOUND: { statusCode: 404, retryable: false, meaning: 'What the path names does not exist.' },
  HF_REQUEST_INVALID: {
    statusCode: 400,
    retryable: false,
    meaning: 'The request is malformed; details name the place.',
  },
  HF_METHOD_NOT_ALLOWED: {
    statusCode: 405,
    retryable: false,
    meaning: 'The path exists, but not for this method; the header Allow lists those that do.',
  },
  HF_REQUEST_TOO_LARGE: { statusCode: 413, retryable: false, meaning: 'The body is over the limit.' },
  HF_HEADERS_TOO_LARGE: { statusCode: 431, retryable: false, meaning: 'The header block is over the limit.' },
  HF_MEDIA_TYPE: {
    statusCode: 415,
    retryable: false,
    meaning: 'The content type is not one that this endpoint takes.',
  },
  HF_NOT_IMPLEMENTED: {
    statusCode: 501,
    retryable: false,
    meaning: 'Part of the contract, but not built yet.',
  },
  HF_INTERNAL: { statusCode: 500, retryable: false, meaning: 'A defect in Holdfast; the log has the cause.' },
  // Packages
  HF_PACKAGE_INVALID: {
    statusCode: 422,
    retryable: false,
    meaning: 'The ZIP or its manifest is not acceptable; details name the entry or field.',
  },
  HF_PACKAGE_TOO_LARGE: {
    statusCode: 413,
    retryable: false,
    meaning: 'The ZIP, an entry, or their total is over a limit.',
  },
  HF_PACKAGE_CONFLICT: {
    statusCode: 409,
    retryable: false,
    meaning: 'This version is stored already, with other bytes.',
  },
  HF_PACKAGE_IN_USE: {
    statusCode: 409,
    retryable: false,
    meaning: 'Processes still run from this package version.',
  },
  HF_PACKAGE_NOT_FOUND: {
    statusCode: 404,
    retryable: false,
    meaning: 'No such package, or not this version.',
  },
  HF_PACKAGE_CORRUPT: {
    statusCode: 500,
    retryable: false,
    meaning: 'The installed files differ from what was verified; upload the package again.',
  },
  HF_ROLLBACK_IMPOSSIBLE: {
    statusCode: 409,
    retryable: false,
    meaning: 'There is no previous version to go back to.',
  },
  // Settings
  HF_SETTINGS_INVALID: {
    statusCode: 422,
    retryable: false,
    meaning: 'The settings have errors; details list path, value and what was expected.',
  },
  HF_SETTINGS_CONFLICT: {
    statusCode: 412,
    retryable: false,
    meaning: 'The settings changed since the ETag in If-Match was read.',
  },
  // Backups
  HF_BACKUP_INVALID: {
    statusCode: 422,
    retryable: false,
    meaning: 'The file is no backup, is damaged, or is of a version that this Holdfast does not read.',
  },
  HF_CLUSTER_NOT_EMPTY: {
    statusCode: 409,
    retryable: false,
    meaning: 'A backup is restored into an empty cluster only; details list what is in the way.',
  },
  // Processes
  HF_PROCESS_NOT_FOUND: { statusCode: 404, retryable: false, meaning: 'No such process.' },
  HF_START_FAILED: {
    statusCode: 422,
    retryable: false,
    meaning: 'The process or its component did not start; details hold the cause.',
  },
  HF_SETTINGS_ID_CONFLICT: {
    statusCode: 409,
    retryable: false,
    meaning: 'A live process has this settingsId with other settings.',
  },
  HF_WRONG_STATE: {
    statusCode: 409,
    retryable: false,
    meaning: 'What is asked is not allowed in the state that it is in.',
  },
  HF_LEADER_STALE: {
    statusCode: 409,
    retryable: false,
    meaning: 'A newer leader has spoken; this one was deposed.',
  },
  HF_CAPACITY: {
    statusCode: 503,
    retryable: true,
    meaning: 'The node is out of something (ports, memory, disk) that this needs.',
  },
  // Ownership
  HF_NOT_OWNER: {
    statusCode: 421,
    retryable: true,
    meaning: 'This host does not, or no longer, own the key.',
  },
  HF_NO_ROUTE: { statusCode: 404, retryable: false, meaning: 'No route matches the path.' },
  HF_NO_OWNER: {
    statusCode: 503,
    retryable: true,
    meaning: 'No live host could take the key within the hold time; nothing was sent.',
  },
  HF_KEY_PAUSED: {
    statusCode: 503,
    retryable: true,
    meaning: 'An operator has paused the key, and did not resume it within the hold time; nothing was sent.',
  },
  HF_CALL_CYCLE: {
    statusCode: 508,
    retryable: false,
    meaning: 'A call between resources waits, directly or through others, for its own answer.',
  },
  HF_OUTCOME_UNKNOWN: {
    statusCode: 502,
    retryable: false,
    meaning: 'The owner broke off after the request was sent; it may or may not have been executed.',
  },
  HF_OWNER_TIMEOUT: {
    statusCode: 504,
    retryable: false,
    meaning: 'The owner did not answer in time and the request was not sent again.',
  },
  HF_STATE_MISSING: {
    statusCode: 503,
    retryable: false,
    meaning: 'The key had an owner before, but its state is not on this machine.',
  },
  HF_KEY_INVALID: {
    statusCode: 400,
    retryable: false,
    meaning: 'The path or header does not yield a usable resource key.',
  },
  HF_FENCED: {
    statusCode: 503,
    retryable: true,
    meaning: 'The resource has seen a newer owner and refused this one.',
  },
  HF_RESOURCE_OPEN_FAILED: {
    statusCode: 503,
    retryable: true,
    meaning: 'The component could not open the resource.',
  },
  HF_COMPONENT_FAILED: {
    statusCode: 500,
    retryable: false,
    meaning: 'The component threw while it answered.',
  },
  HF_UNAVAILABLE: {
    statusCode: 503,
    retryable: true,
    meaning: 'Starting, stopping or overloaded; try again shortly.',
  },
  // Coordination
  HF_COORDINATION_UNAVAILABLE: {
    statusCode: 503,
    retryable: true,
    meaning: 'The coordination store cannot be reached.',
  },
  HF_NOT_LEADER: {
    statusCode: 503,
    retryable: true,
    meaning: 'This node manager does not lead at the moment.',
  },
  HF_LEASE_INVALID: {
    statusCode: 400,
    retryable: false,
    meaning: 'A lease name, holder or ttlMs is outside its limits.',
  },
  HF_LEASE_LOST: {
    statusCode: 503,
    retryable: true,
    meaning:
      'The lease under which the work ran has ended, or could not be renewed in time; the work was told to stop.',
  },
  HF_NOTE_INVALID: {
    statusCode: 400,
    retryable: false,
    meaning: 'The name or text of a note is outside its limits.',
  },
  // Jobs
  HF_JOB_TIMEOUT: {
    statusCode: 504,
    retryable: false,
    meaning: 'A run of a job did not end in time; it was told to stop.',
  },
  HF_JOB_CANCELLED: {
    statusCode: 409,
    retryable: false,
    meaning: 'A run of a job was told to stop: by an operator, or because its process stops.',
  },
  HF_JOB_STALE: {
    statusCode: 409,
    retryable: false,
    meaning: 'The same or a newer run of the job was begun before; this one does nothing.',
  },
  HF_JOB_RUNNING: { statusCode: 409, retryable: false, meaning: 'A run of the job is under way.' },
  HF_JOB_RESULT: {
    statusCode: 422,
    retryable: false,
    meaning: 'A run of a job succeeded, but its result cannot be kept.',
  },
  // Messages
  HF_NO_PUBLISHER: {
    statusCode: 409,
    retryable: false,
    meaning: 'The instance has no publisher to carry messages.',
  },
  HF_MESSAGE_INVALID: {
    statusCode: 422,
    retryable: false,
    meaning: 'The message is not one that can be published; details name the place.',
  },
  HF_MESSAGE_TOO_LARGE: {
    statusCode: 413,
    retryable: false,
    meaning: 'The content of the message is over the limit of the publisher.',
  },
  HF_OUTBOX_FULL: {
    statusCode: 503,
    retryable: true,
    meaning: 'The broker is away, slow or full, and the publisher holds as many messages for it as it may.',
  },
  HF_BROKER_UNAVAILABLE: {
    statusCode: 503,
    retryable: true,
    meaning: 'The message broker cannot be reached.',
  },
  HF_REPLY_TIMEOUT: {
    statusCode: 504,
    retryable: false,
    meaning: 'The message was published, but no reply to it came in time.',
  },
  // SQL (sqlite-service)
  HF_SQL_ERROR: {
    statusCode: 400,
    retryable: false,
    meaning: 'SQLite refused the SQL; the message is its own.',
  },
  HF_SQL_DEADLINE: {
    statusCode: 408,
    retryable: false,
    meaning: 'The SQL ran longer than the deadline and was ended; uncommitted work was rolled back.',
  },
  // database-replication
  HF_REPLICATION_REFUSED: {
    statusCode: 503,
    retryable: false,
    meaning: 'The replication cannot begin like this: settings, rights or schemas do not fit.',
  },
  HF_REPLICATION_HALTED: {
    statusCode: 503,
    retryable: false,
    meaning: 'The replication stands still, because going on would lose or overwrite something.',
  },
  // Starting
  HF_PORT_IN_USE: {
    statusCode: 503,
    retryable: false,
    meaning: 'Another program listens on a port that is needed.',
  },
  HF_STATE_UNUSABLE: {
    statusCode: 500,
    retryable: false,
    meaning: 'A folder or file of the state cannot be used; the message says which and how to mend it.',
  },
  HF_ALREADY_RUNNING: {
    statusCode: 409,
    retryable: false,
    meaning: 'Another Holdfast already runs on this state folder.',
  },
  HF_NODE_UNREACHABLE: { statusCode: 503, retryable: true, meaning: 'A node API did not answer in time.' },
  HF_USAGE: {
    statusCode: 400,
    retryable: false,
    meaning: 'A command was called with wrong words; see --help.',
  },
});

export type ErrorCode = keyof typeof errorTable;
