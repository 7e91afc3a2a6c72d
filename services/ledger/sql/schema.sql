-- The truth about the database: what every migration together must reach (tests/migration compares them).
-- The controller leads every primary and unique key, so that native partitioning works and distributing by
-- controller stays open. Exceptions, none of them a controller's data: positions, schema_migrations, deployment,
-- publishers, sealing_keys.

-- What the operator sets up --------------------------------------------------------------------------------------

CREATE TABLE deployment (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Names the high-water directory this database belongs to; a ledger with another directory refuses to start.
    high_water_id uuid NOT NULL
);

CREATE TABLE publishers (
    publisher bytea PRIMARY KEY CHECK (length(publisher) = 8),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    service text NOT NULL CHECK (service IN ('ingest', 'query')),
    types text[] NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE sealing_keys (
    sealing_key bytea PRIMARY KEY CHECK (length(sealing_key) = 8),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Since then nothing new is sealed to this key; it is destroyed when nothing that was can still arrive.
    replaced_at timestamptz,
    destroyed_at timestamptz
);

CREATE TABLE controllers (
    controller integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    legal_name text NOT NULL,
    contact text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What a receipt says of the controller (schemas.parties), canonical JSON; NULL until the operator has set it.
    details bytea,
    -- An erased controller keeps its logs and its name, and nothing of any person.
    erased_at timestamptz
);

CREATE TABLE logs (
    controller integer NOT NULL REFERENCES controllers,
    log integer NOT NULL GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    origin text NOT NULL,
    -- The verifier key (C2SP vkey) that the ledger opened the log with; log_keys has those that came after.
    vkey text,
    predecessor integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- A successor log names the last checkpoint of its predecessor that is known outside: size and root.
    follows_size bigint,
    follows_root bytea CHECK (length(follows_root) = 32),
    -- A closed log takes no more records: a successor does.
    closed_at timestamptz,
    -- consent: what sites post. access: who looked at personal data, one log a controller.
    kind text NOT NULL DEFAULT 'consent' CHECK (kind IN ('consent', 'access')),
    PRIMARY KEY (controller, log)
);
CREATE UNIQUE INDEX logs_access_key ON logs (controller) WHERE kind = 'access' AND closed_at IS NULL;
-- Names and origins are unique over all controllers because they stand in public addresses.
CREATE UNIQUE INDEX logs_name_key ON logs (name);
CREATE UNIQUE INDEX logs_origin_key ON logs (origin);

CREATE TABLE sites (
    controller integer NOT NULL REFERENCES controllers,
    site integer NOT NULL GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    log integer NOT NULL,
    origins text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, site),
    FOREIGN KEY (controller, log) REFERENCES logs
);
CREATE UNIQUE INDEX sites_name_key ON sites (name);

CREATE TABLE site_keys (
    controller integer NOT NULL,
    site_key text NOT NULL,
    site integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('pk', 'sk', 'app')),
    -- SHA-256 of the secret part of a server key; publishable keys and keys of apps have no secret.
    secret_sha256 bytea CHECK ((kind = 'sk') = (secret_sha256 IS NOT NULL)),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    PRIMARY KEY (controller, site_key),
    FOREIGN KEY (controller, site) REFERENCES sites
);
CREATE UNIQUE INDEX site_keys_site_key_key ON site_keys (site_key);

CREATE TABLE access_keys (
    controller integer NOT NULL REFERENCES controllers,
    access_key text NOT NULL,
    role text NOT NULL CHECK (role IN ('site', 'privacy', 'dpo', 'auditor', 'admin')),
    secret_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    -- What it is for, in the controller's words.
    label text,
    expires_at timestamptz,
    -- The key that this one takes the place of; both are in force for a while.
    replaces text,
    -- Of a key for machines: only subjects of these sites; NULL is every site.
    sites integer[],
    grant_id uuid,
    PRIMARY KEY (controller, access_key),
    CONSTRAINT access_keys_grant_check CHECK (
        (role = 'auditor') = (grant_id IS NOT NULL) OR (role = 'auditor' AND revoked_at IS NOT NULL))
);
CREATE UNIQUE INDEX access_keys_access_key_key ON access_keys (access_key);

CREATE TABLE notices (
    controller integer NOT NULL,
    notice bytea NOT NULL CHECK (length(notice) = 32),
    site integer NOT NULL,
    language text NOT NULL,
    -- The exact canonical bytes; their SHA-256 is the name.
    content bytea NOT NULL CHECK (sha256(content) = notice),
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, notice, site),
    FOREIGN KEY (controller, site) REFERENCES sites
);

-- A DPO's statement that a hash seen on a page stands for a published notice.
CREATE TABLE notice_matches (
    controller integer NOT NULL,
    shown bytea NOT NULL CHECK (length(shown) = 32),
    notice bytea NOT NULL,
    matched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, shown)
);

CREATE TABLE catalogue_services (
    controller integer NOT NULL REFERENCES controllers,
    service text NOT NULL CHECK (service ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Canonical JSON: a whole service, or the members that replace those of the catalogue. The latest counts.
    content bytea NOT NULL,
    PRIMARY KEY (controller, service, published_at)
);

CREATE TABLE compliance_steps (
    controller integer NOT NULL REFERENCES controllers,
    service text NOT NULL CHECK (service ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    step text NOT NULL,
    done_on date NOT NULL,
    note text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, service, step, done_on)
);

-- The log ------------------------------------------------------------------------------------------------------------

CREATE TABLE log_heads (
    controller integer NOT NULL,
    log integer NOT NULL,
    size bigint NOT NULL DEFAULT 0,
    root bytea NOT NULL CHECK (length(root) = 32),
    -- Leaf hash of the last entry; 32 zero bytes when empty. The next entry's prev.
    prev bytea NOT NULL CHECK (length(prev) = 32),
    recorded_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z',
    -- Size of the last signed checkpoint; NULL before the first.
    signed_size bigint,
    -- Size of the largest checkpoint that may be shown: with witnesses that must agree first it lags behind signed_size.
    published_size bigint,
    PRIMARY KEY (controller, log),
    FOREIGN KEY (controller, log) REFERENCES logs,
    CHECK (signed_size <= size),
    CONSTRAINT log_heads_published_check CHECK (published_size <= signed_size)
);

CREATE TABLE records (
    controller integer NOT NULL,
    log integer NOT NULL,
    index bigint NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (controller, log, index)
);
ALTER TABLE records ALTER COLUMN entry SET STORAGE EXTERNAL;

CREATE TABLE tiles (
    controller integer NOT NULL,
    log integer NOT NULL,
    level smallint NOT NULL,
    tile bigint NOT NULL,
    -- 1 to 256 hashes of 32 bytes; grows until it is full and never changes a hash it has.
    hashes bytea NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
    PRIMARY KEY (controller, log, level, tile)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE checkpoints (
    controller integer NOT NULL,
    log integer NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    note text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, log, size)
);

CREATE TABLE log_keys (
    controller integer NOT NULL,
    log integer NOT NULL,
    -- 1 is the key that the log was opened with.
    number integer NOT NULL CHECK (number >= 1),
    vkey text NOT NULL,
    -- Where the private key is: `file:NAME` below the ledger's key directory, or a name at the key provider.
    reference text NOT NULL,
    -- Signed by the key before and by this one (docs/proof-format.md, Keys in time); NULL for number 1.
    statement text CHECK ((number = 1) = (statement IS NULL)),
    made_at timestamptz NOT NULL DEFAULT now(),
    -- From then on this key signs no more; NULL while it has no successor.
    ends_at timestamptz,
    PRIMARY KEY (controller, log, number),
    FOREIGN KEY (controller, log) REFERENCES logs
);

CREATE TABLE cosignatures (
    controller integer NOT NULL,
    log integer NOT NULL,
    size bigint NOT NULL,
    witness text NOT NULL,
    key_id bytea NOT NULL CHECK (length(key_id) = 4),
    -- The signature line of the note, verbatim, with its newline.
    line text NOT NULL,
    cosigned_at timestamptz NOT NULL,
    PRIMARY KEY (controller, log, size, witness, key_id),
    FOREIGN KEY (controller, log, size) REFERENCES checkpoints
);

CREATE TABLE timestamps (
    controller integer NOT NULL,
    log integer NOT NULL,
    size bigint NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    authority text NOT NULL,
    -- The whole TimeStampResp (RFC 3161) as it came; kept even if nothing here can verify it.
    response bytea NOT NULL,
    -- The nonce of our request, 8 bytes: a verifier compares it.
    nonce bytea NOT NULL CHECK (length(nonce) = 8),
    obtained_at timestamptz NOT NULL DEFAULT now(),
    -- Both NULL when it did not verify.
    gen_time timestamptz,
    verified_by text CHECK (verified_by IN ('rfc3161-client', 'openssl')),
    PRIMARY KEY (controller, log, size, seq),
    FOREIGN KEY (controller, log, size) REFERENCES checkpoints,
    CHECK ((gen_time IS NULL) = (verified_by IS NULL))
);

-- A proof is about to be exported for the first time: the ledger has its checkpoint timestamped.
CREATE TABLE timestamp_wishes (
    controller integer NOT NULL,
    log integer NOT NULL,
    size bigint NOT NULL,
    wished_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, log, size),
    FOREIGN KEY (controller, log, size) REFERENCES checkpoints
);

-- The personal side ----------------------------------------------------------------------------------------------

CREATE TABLE subjects (
    controller integer NOT NULL,
    subject uuid NOT NULL,
    -- The subject's own AES-256 key, AES-key-wrapped under the controller's key of that epoch.
    wrapped_key bytea NOT NULL CHECK (length(wrapped_key) = 40),
    key_epoch integer NOT NULL,
    -- Set where this is not a person but the stand-in for a log's events without a subject.
    log integer,
    -- Whether it was linked to somebody who was erased and survived that: it is nobody's alone any more.
    is_shared boolean NOT NULL DEFAULT false,
    PRIMARY KEY (controller, subject)
);
CREATE UNIQUE INDEX subjects_log_key ON subjects (controller, log) WHERE log IS NOT NULL;

CREATE TABLE identifiers (
    controller integer NOT NULL,
    -- HMAC-SHA256 of type and value under the controller's identifier secret, first 16 bytes.
    identifier bytea NOT NULL CHECK (length(identifier) = 16),
    subject uuid NOT NULL,
    PRIMARY KEY (controller, identifier)
);
CREATE INDEX identifiers_subject_idx ON identifiers (subject);

CREATE TABLE payloads (
    controller integer NOT NULL,
    log integer NOT NULL,
    index bigint NOT NULL,
    subject uuid NOT NULL,
    -- 11 random bytes; a part's nonce is these and its number (who 0, what 1, context 2).
    nonce bytea NOT NULL CHECK (length(nonce) = 11),
    -- AES-256-GCM of salt and canonical JSON under the subject's key; NULL once the part was deleted by itself,
    -- and then its digest stands beside it.
    who bytea,
    what bytea,
    context bytea,
    who_digest bytea,
    what_digest bytea,
    context_digest bytea,
    PRIMARY KEY (controller, log, index)
);
CREATE INDEX payloads_subject_idx ON payloads (subject);

CREATE TABLE dedupe (
    controller integer NOT NULL,
    -- HMAC-SHA256 of the event id under the event id key, first 16 bytes.
    event bytea NOT NULL CHECK (length(event) = 16),
    log integer NOT NULL,
    -- NULL for an event that came too late, after its subject was erased: it has a name and no place.
    index bigint,
    -- HMAC-SHA256 of the content digest under the subject's key, first 16 bytes; NULL after an erasure.
    content bytea CHECK (length(content) = 16),
    -- The earliest received_at of the copies with this content: the one that ranks.
    received_at timestamptz,
    PRIMARY KEY (controller, event)
);

CREATE TABLE consent_state (
    controller integer NOT NULL,
    subject uuid NOT NULL,
    purpose text NOT NULL,
    legal_basis text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('granted', 'denied', 'objected', 'not_objected')),
    -- The rank of the deciding event and, last in the order, its dedupe name; both independent of arrival.
    rank timestamptz NOT NULL,
    event bytea NOT NULL,
    PRIMARY KEY (controller, subject, purpose, legal_basis)
);

-- Acts that link a weaker identifier's subject to a stronger one's, or end that (sign-in, sign-out); never merged.
CREATE TABLE links (
    controller integer NOT NULL,
    -- The dedupe name of the event that says so, and which of its identifiers, in its order, is the weaker one.
    event bytea NOT NULL CHECK (length(event) = 16),
    nth smallint NOT NULL,
    strong uuid NOT NULL,
    -- NULL once that subject was erased: then this links nothing.
    weak uuid CHECK (weak <> strong),
    state text NOT NULL CHECK (state IN ('linked', 'ended')),
    -- The rank of the event: min(time, received_at), so that nothing depends on the order of arrival.
    acted_at timestamptz NOT NULL,
    PRIMARY KEY (controller, event, nth)
);
CREATE INDEX links_weak_idx ON links (controller, weak);
CREATE INDEX links_strong_idx ON links (controller, strong);

-- What a site's corrections undo, by the dedupe names of the events, whether those have come or not: only an unconfirmed
-- event that stands here has its subject projected anew, or a stranger who sends many would keep the ledger busy.
CREATE TABLE corrections (
    controller integer NOT NULL,
    event bytea NOT NULL CHECK (length(event) = 16),
    PRIMARY KEY (controller, event)
);

-- Erasure -------------------------------------------------------------------------------------------------------------

CREATE TABLE erasures (
    controller integer NOT NULL REFERENCES controllers,
    -- The number of its line in the suppression file.
    number bigint NOT NULL,
    -- The dedupe name of the event that asked for it; NULL where the operator did.
    event bytea CHECK (length(event) = 16),
    -- A random id that leads nowhere any more; NULL where the whole controller was erased.
    subject uuid,
    ground text NOT NULL,
    erased_at timestamptz NOT NULL,
    -- Not now(): that is when the transaction began, before the erasure in it.
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (controller, number)
);
CREATE INDEX erasures_event_idx ON erasures (controller, event);
CREATE INDEX erasures_subject_idx ON erasures (controller, subject);
-- The largest number of all is asked for by every erasure.
CREATE INDEX erasures_number_idx ON erasures (number);

-- How many parts of each log an erasure deleted, and which entry of which log says so (NULL until one does).
CREATE TABLE erased_parts (
    controller integer NOT NULL,
    number bigint NOT NULL,
    log integer NOT NULL,
    who bigint NOT NULL,
    what bigint NOT NULL,
    context bigint NOT NULL,
    declared_log integer,
    declared_index bigint,
    PRIMARY KEY (controller, number, log),
    FOREIGN KEY (controller, number) REFERENCES erasures,
    CHECK ((declared_log IS NULL) = (declared_index IS NULL))
);

-- Looked for several times a second.
CREATE INDEX erased_parts_undeclared_idx ON erased_parts (controller) WHERE declared_index IS NULL;

-- Names of erased identifiers: an act from before the erasure leaves nothing but its own name.
CREATE TABLE tombstones (
    controller integer NOT NULL,
    identifier bytea NOT NULL CHECK (length(identifier) = 16),
    erased_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (controller, identifier)
);

-- What must outlive an erasure until every downstream system has answered and the person was told.
CREATE TABLE dockets (
    controller integer NOT NULL,
    -- The number of the erasure.
    docket bigint NOT NULL,
    -- AES-256-GCM under a key of its own, wrapped like a subject's; all three NULL once it is closed.
    sealed bytea,
    wrapped_key bytea CHECK (length(wrapped_key) = 40),
    key_epoch integer,
    opened_at timestamptz NOT NULL,
    -- It is closed then, whoever has not answered.
    limit_at timestamptz NOT NULL,
    closed_at timestamptz,
    outcome text CHECK (outcome IN ('answered', 'limit')),
    -- When the person was told; an erasure with nobody to tell sets it when the docket is opened.
    told_at timestamptz,
    PRIMARY KEY (controller, docket),
    FOREIGN KEY (controller, docket) REFERENCES erasures (controller, number),
    CHECK ((closed_at IS NULL) = (sealed IS NOT NULL)),
    CHECK ((closed_at IS NULL) = (outcome IS NULL)),
    CHECK ((sealed IS NULL) = (wrapped_key IS NULL) AND (sealed IS NULL) = (key_epoch IS NULL))
);

-- The controller's written rule: consents to this purpose leave a minimal proof behind (GDPR Art. 17(3)(b), (e)).
CREATE TABLE minimal_proof_rules (
    controller integer NOT NULL REFERENCES controllers,
    purpose text NOT NULL,
    ground text NOT NULL CHECK (ground IN ('17(3)(b)', '17(3)(e)')),
    keep_days integer NOT NULL CHECK (keep_days BETWEEN 1 AND 36500),
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, purpose)
);

CREATE TABLE minimal_proofs (
    controller integer NOT NULL,
    log integer NOT NULL,
    index bigint NOT NULL,
    -- The erasure that kept it.
    number bigint NOT NULL,
    -- HMAC-SHA256 of type and value under the controller's proof key, first 16 bytes, the strongest identifier's.
    identifier bytea NOT NULL CHECK (length(identifier) = 16),
    -- AES-256-GCM of salt and JSON of the part `what` under the controller's proof key.
    nonce bytea NOT NULL CHECK (length(nonce) = 12),
    what bytea NOT NULL,
    who_digest bytea NOT NULL CHECK (length(who_digest) = 32),
    context_digest bytea NOT NULL CHECK (length(context_digest) = 32),
    ground text NOT NULL,
    keep_until timestamptz NOT NULL,
    -- Released by two people with a reason.
    asked_by text,
    reason text,
    released_by text,
    released_at timestamptz,
    PRIMARY KEY (controller, log, index),
    FOREIGN KEY (controller, number) REFERENCES erasures,
    CHECK (released_by IS DISTINCT FROM asked_by OR released_by IS NULL)
);
CREATE INDEX minimal_proofs_identifier_idx ON minimal_proofs (controller, identifier);

-- Rights: people and grants, requests, holds, downstream systems, retention, exports, figures --------------------------

-- Somebody who signs in with the controller's OpenID provider.
CREATE TABLE people (
    controller integer NOT NULL REFERENCES controllers,
    person uuid NOT NULL,
    -- Both NULL until whoever was invited has signed in for the first time.
    issuer text,
    -- SHA-256 of the provider and its name for the person (claims iss and sub).
    subject_sha256 bytea CHECK (length(subject_sha256) = 32),
    -- As colleagues call them; the controller's own words.
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('privacy', 'dpo', 'auditor', 'admin')),
    grant_id uuid,
    added_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    PRIMARY KEY (controller, person),
    CHECK ((role = 'auditor') = (grant_id IS NOT NULL)),
    CHECK ((issuer IS NULL) = (subject_sha256 IS NULL))
);
CREATE UNIQUE INDEX people_subject_key ON people (controller, issuer, subject_sha256) WHERE removed_at IS NULL;

CREATE TABLE sessions (
    controller integer NOT NULL,
    -- SHA-256 of the cookie's value.
    session bytea NOT NULL CHECK (length(session) = 32),
    person uuid NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (controller, session),
    FOREIGN KEY (controller, person) REFERENCES people
);
CREATE UNIQUE INDEX sessions_session_key ON sessions (session);

-- What a regulator may look at: of which case, whom, which purposes, from when, until when.
CREATE TABLE grants (
    controller integer NOT NULL REFERENCES controllers,
    grant_id uuid NOT NULL,
    case_reference text NOT NULL,
    authority text NOT NULL,
    -- NULL: everybody, every purpose.
    subjects uuid[],
    purposes text[],
    -- Records that were received in this time; NULL is open.
    records_from timestamptz,
    records_until timestamptz,
    begins_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    -- Ordered: nobody but the DPO is told of it before.
    confidential_until timestamptz,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_by text,
    PRIMARY KEY (controller, grant_id),
    CHECK (ends_at > begins_at)
);

-- What the controller states about how it answers: time zone, holidays, promise, authority (schemas.terms). The latest counts.
CREATE TABLE terms (
    controller integer NOT NULL REFERENCES controllers,
    stated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    content bytea NOT NULL,
    stated_by text NOT NULL,
    PRIMARY KEY (controller, stated_at)
);

-- An act that needs two people: the one who asks, and another who decides, not before a time.
CREATE TABLE approvals (
    controller integer NOT NULL REFERENCES controllers,
    approval uuid NOT NULL,
    act text NOT NULL CHECK (act IN ('release-hold', 'mass-erasure')),
    -- What it is about, as that act writes it (canonical JSON of ids); names nobody.
    target bytea NOT NULL,
    asked_by text NOT NULL,
    reason text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    not_before timestamptz NOT NULL DEFAULT now(),
    decided_by text,
    decided_at timestamptz,
    verdict text CHECK (verdict IN ('approved', 'refused')),
    decided_because text,
    -- Set when what was approved has been done.
    done_at timestamptz,
    PRIMARY KEY (controller, approval),
    -- Whoever asked may take it back, never approve it.
    CHECK (verdict IS DISTINCT FROM 'approved' OR decided_by <> asked_by),
    CHECK ((decided_by IS NULL) = (verdict IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL))
);

CREATE INDEX approvals_due_idx ON approvals (not_before) WHERE verdict = 'approved' AND done_at IS NULL;

-- Asks for erasures: those of one person alone are counted, those that two people approved are worked through.
CREATE TABLE erasure_asks (
    controller integer NOT NULL REFERENCES controllers,
    ask uuid NOT NULL,
    subject uuid NOT NULL,
    -- NULL: asked by one person alone.
    approval uuid,
    -- NULL: its turn has not come.
    asked_at timestamptz,
    -- The dedupe name of the event; NULL while it waits, and where the subject was gone when its turn came.
    event bytea CHECK (length(event) = 16),
    PRIMARY KEY (controller, ask)
);
CREATE INDEX erasure_asks_alone_idx ON erasure_asks (controller, asked_at) WHERE approval IS NULL;
CREATE UNIQUE INDEX erasure_asks_approval_key ON erasure_asks (controller, approval, subject) WHERE approval IS NOT NULL;

-- Requests, holds, restrictions: projections of their records, written by the ledger with them ----------------------------

CREATE TABLE requests (
    controller integer NOT NULL,
    request uuid NOT NULL,
    asked_for text NOT NULL CHECK (asked_for IN ('access', 'rectification', 'erasure', 'restriction', 'portability',
        'objection', 'withdrawal')),
    -- Somebody else reports that a child's data is here; NULL where the person asks.
    about text CHECK (about IN ('child')),
    state text NOT NULL CHECK (state IN ('received', 'identity', 'paused', 'working', 'answered', 'refused', 'withdrawn')),
    -- NULL while nobody knows whose it is, and after an erasure, when the docket's number stands instead.
    subject uuid,
    docket bigint,
    site text NOT NULL,
    -- The day on which it arrived, where the controller is.
    received_on date NOT NULL,
    received_at timestamptz NOT NULL,
    due_on date NOT NULL,
    is_extended boolean NOT NULL DEFAULT false,
    -- Whether a capability or a sign-in showed who asked: then nobody may ask for more.
    is_known boolean NOT NULL DEFAULT false,
    -- Since when the clock stands still, and for how many days it did before.
    paused_on date,
    paused_days integer NOT NULL DEFAULT 0,
    closed_at timestamptz,
    -- How many steps it has; the next one has this number.
    steps integer NOT NULL,
    PRIMARY KEY (controller, request)
);
CREATE INDEX requests_subject_idx ON requests (controller, subject);
CREATE INDEX requests_open_idx ON requests (controller, due_on) WHERE closed_at IS NULL;

CREATE TABLE request_steps (
    controller integer NOT NULL,
    request uuid NOT NULL,
    nth integer NOT NULL,
    -- The dedupe name of the event, its type, and where its record stands.
    event bytea NOT NULL CHECK (length(event) = 16),
    type text NOT NULL,
    at timestamptz NOT NULL,
    due_on date,
    log integer NOT NULL,
    index bigint NOT NULL,
    PRIMARY KEY (controller, request, nth)
);

CREATE TABLE holds (
    controller integer NOT NULL,
    hold uuid NOT NULL,
    -- NULL: of everybody of the controller (a case that is not about one person).
    subject uuid,
    ground text NOT NULL CHECK (ground IN ('17(3)(b)', '17(3)(e)', '18(1)(c)', 'order')),
    case_reference text NOT NULL,
    grant_id uuid,
    placed_at timestamptz NOT NULL,
    review_on date NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Whether the person may be told that there is one.
    is_confidential boolean NOT NULL DEFAULT false,
    reviewed_at timestamptz,
    released_at timestamptz,
    -- The dedupe name of the event that placed it: its record says why.
    event bytea NOT NULL CHECK (length(event) = 16),
    PRIMARY KEY (controller, hold)
);
CREATE INDEX holds_subject_idx ON holds (controller, subject) WHERE released_at IS NULL;

-- An ask for an erasure that a hold stopped.
CREATE TABLE held_erasures (
    controller integer NOT NULL,
    event bytea NOT NULL CHECK (length(event) = 16),
    hold uuid NOT NULL,
    held_at timestamptz NOT NULL,
    PRIMARY KEY (controller, event)
);

-- Processing that is restricted (GDPR Art. 18) for a subject; purpose '' is every purpose.
CREATE TABLE restrictions (
    controller integer NOT NULL,
    subject uuid NOT NULL,
    purpose text NOT NULL DEFAULT '',
    since timestamptz NOT NULL,
    lifted_at timestamptz,
    -- The request that it answers, which alone lifts it again.
    request uuid,
    event bytea NOT NULL CHECK (length(event) = 16),
    PRIMARY KEY (controller, subject, purpose, event)
);

-- What sites stated of somebody's age: over or under the age that was asked for then (schemas.ages), nothing else.
CREATE TABLE ages (
    controller integer NOT NULL,
    subject uuid NOT NULL,
    event bytea NOT NULL CHECK (length(event) = 16),
    is_over boolean NOT NULL,
    stated_at timestamptz NOT NULL,
    PRIMARY KEY (controller, subject, event)
);

-- What an erased person objected to, so that they are not approached again: HMAC-SHA256 of type and value under the
-- controller's proof key, first 16 bytes.
CREATE TABLE suppressed_objections (
    controller integer NOT NULL,
    identifier bytea NOT NULL CHECK (length(identifier) = 16),
    purpose text NOT NULL,
    legal_basis text NOT NULL,
    objected_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (controller, identifier, purpose, legal_basis)
);

-- Downstream systems -------------------------------------------------------------------------------------------------

CREATE TABLE downstreams (
    controller integer NOT NULL REFERENCES controllers,
    system text NOT NULL CHECK (system ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    kind text NOT NULL CHECK (kind IN ('kafka', 'webhook', 'task')),
    -- What it is told: triggers, records (changes of consent), notices (material changes).
    tells text[] NOT NULL,
    -- The services of the catalogue whose data it holds; empty is all.
    services text[] NOT NULL DEFAULT '{}',
    url text CHECK ((kind = 'webhook') = (url IS NOT NULL)),
    -- The public key (JWK, canonical JSON) that triggers are sealed to; a task is read by the controller's own people.
    sealed_to bytea CHECK (kind = 'task' OR sealed_to IS NOT NULL OR NOT 'triggers' = ANY (tells)),
    -- Which secret it knows: counted up when it is replaced.
    secret_number integer NOT NULL DEFAULT 1,
    -- What to do there, for a human.
    instructions text,
    answer_days integer NOT NULL DEFAULT 30 CHECK (answer_days BETWEEN 1 AND 365),
    added_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    PRIMARY KEY (controller, system)
);

CREATE TABLE triggers (
    controller integer NOT NULL,
    trigger uuid NOT NULL,
    -- The erasure whose docket holds what finds the person; NULL where the subject lives on (a withdrawal, a restriction).
    docket bigint,
    subject uuid,
    system text NOT NULL,
    action text NOT NULL CHECK (action IN ('erase', 'anonymise', 'restrict', 'unrestrict')),
    -- '' is everything there.
    purpose text NOT NULL DEFAULT '',
    -- What caused it, once: an erasure's number, a withdrawal's or a request's event.
    cause text NOT NULL,
    -- A JWE to the downstream with what it needs to find the person; NULL for a task, and once it has answered.
    sealed bytea,
    made_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    sent_at timestamptz,
    answered_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'not_feasible', 'refused', 'overdue')),
    reason text,
    PRIMARY KEY (controller, trigger),
    CHECK ((answered_at IS NULL) = (outcome IS NULL))
);
-- The same trigger twice does no harm.
CREATE UNIQUE INDEX triggers_cause_key ON triggers (controller, cause, system, action, purpose);
CREATE INDEX triggers_open_idx ON triggers (controller, due_at) WHERE answered_at IS NULL;
CREATE INDEX triggers_docket_idx ON triggers (controller, docket);
CREATE INDEX triggers_subject_idx ON triggers (controller, subject) WHERE subject IS NOT NULL;

-- What is to be posted or published to a downstream system, until it was taken or given up.
CREATE TABLE deliveries (
    controller integer NOT NULL,
    delivery uuid NOT NULL,
    system text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('trigger', 'records', 'notice')),
    trigger uuid,
    -- The body; of a trigger it is made of the trigger's own row when it is sent.
    body bytea CHECK ((kind = 'trigger') = (body IS NULL)),
    made_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    last_status integer,
    delivered_at timestamptz,
    -- Given up: a dead letter, to be sent again by hand.
    dead_at timestamptz,
    PRIMARY KEY (controller, delivery)
);
CREATE INDEX deliveries_due_idx ON deliveries (controller, system, next_at) WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX deliveries_trigger_idx ON deliveries (controller, trigger);

-- How far a downstream system has been told of a log's records.
CREATE TABLE feeds (
    controller integer NOT NULL,
    system text NOT NULL,
    log integer NOT NULL,
    next_index bigint NOT NULL,
    PRIMARY KEY (controller, system, log)
);

-- Versions of notices that those who are told of material changes have been told of, or that change nothing.
CREATE TABLE announced_versions (
    controller integer NOT NULL,
    site integer NOT NULL,
    notice_id text NOT NULL,
    version text NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, site, notice_id, version)
);

-- Retention ----------------------------------------------------------------------------------------------------------

CREATE TABLE retention_rules (
    controller integer NOT NULL REFERENCES controllers,
    rule text NOT NULL CHECK (rule ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    stated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Canonical JSON (schemas.retention); NULL ends the rule. The latest counts.
    content bytea,
    stated_by text NOT NULL,
    PRIMARY KEY (controller, rule, stated_at)
);

CREATE TABLE retention_runs (
    controller integer NOT NULL,
    run uuid NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- Rules are read as they stood then.
    as_of timestamptz NOT NULL,
    -- Looks only at what came of age after this; NULL: at everything.
    since timestamptz,
    -- Deletes nothing, and says what would go.
    is_preview boolean NOT NULL DEFAULT false,
    finished_at timestamptz,
    -- Where to go on: canonical JSON, written in the transaction that deletes.
    progress bytea,
    -- Parts deleted, by rule and part, and what else became of it; canonical JSON.
    counts bytea,
    -- How many parts that is in all.
    cleared bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (controller, run)
);
CREATE INDEX retention_runs_unfinished_idx ON retention_runs (asked_at) WHERE finished_at IS NULL;

-- When a person's account was last deleted at the site, and last restored: a rule may count from the deletion.
CREATE TABLE account_deletions (
    controller integer NOT NULL,
    subject uuid NOT NULL,
    -- The dedupe name of the event that says so.
    event bytea CHECK (length(event) = 16),
    deleted_at timestamptz,
    restored_at timestamptz,
    PRIMARY KEY (controller, subject),
    CHECK ((event IS NULL) = (deleted_at IS NULL))
);

-- What retention deleted of a closed log, and which entry of the log that took over from it says so. What it deletes of an
-- open log stands in that log's own entries alone.
CREATE TABLE retained_parts (
    controller integer NOT NULL,
    log integer NOT NULL,
    who bigint NOT NULL,
    what bigint NOT NULL,
    context bigint NOT NULL,
    declared_log integer NOT NULL,
    declared_index bigint NOT NULL,
    PRIMARY KEY (controller, declared_log, declared_index)
);

-- Exports ------------------------------------------------------------------------------------------------------------

CREATE TABLE exports (
    controller integer NOT NULL REFERENCES controllers,
    export uuid NOT NULL,
    -- What is asked for (schemas.exports), canonical JSON; names nobody but by subject id.
    content bytea NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'cancelled', 'failed', 'expired')),
    -- The process at work, and when it last said so: another takes over when it is silent.
    worker uuid,
    heartbeat_at timestamptz,
    -- Where to go on: canonical JSON, written with each file that is complete.
    progress bytea,
    records bigint NOT NULL DEFAULT 0,
    records_of bigint,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    failure text,
    PRIMARY KEY (controller, export)
);
CREATE INDEX exports_unfinished_idx ON exports (controller) WHERE state IN ('waiting', 'running');

-- Figures ------------------------------------------------------------------------------------------------------------

-- Counts of acts by day (UTC, of received_at); nobody can be found in them, and no erasure touches them.
CREATE TABLE figures (
    controller integer NOT NULL,
    day date NOT NULL,
    site text NOT NULL,
    purpose text NOT NULL,
    -- The notice's hash in hex, '' where none was named.
    notice text NOT NULL,
    language text NOT NULL,
    act text NOT NULL CHECK (act IN ('shown', 'granted', 'denied', 'withdrawn', 'objected', 'not_objected', 'told')),
    count bigint NOT NULL,
    PRIMARY KEY (controller, day, site, purpose, notice, language, act)
);

-- Streams ----------------------------------------------------------------------------------------------------------

CREATE TABLE positions (
    topic text NOT NULL,
    partition integer NOT NULL,
    cluster text NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE inbox (
    controller integer NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    log text NOT NULL,
    event_id uuid NOT NULL,
    site text NOT NULL,
    epoch bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (controller, seq)
);
CREATE INDEX inbox_seq_idx ON inbox (seq);

CREATE TABLE dead_letters (
    controller integer NOT NULL,
    letter bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    reason text NOT NULL,
    -- Where this copy was put ('inbox' or the name of a Kafka topic), so that its waiting sender can be answered.
    transport text NOT NULL,
    partition integer NOT NULL,
    seq bigint NOT NULL,
    log text,
    site text,
    event bytea,
    identifiers bytea[] NOT NULL DEFAULT '{}',
    -- The sealed message as it came, headers first.
    epoch bytea,
    value bytea NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, letter)
);
CREATE INDEX dead_letters_copy_idx ON dead_letters (transport, partition, seq);
-- An erasure deletes those that name the person, while it holds up every recorder of the controller.
CREATE INDEX dead_letters_identifiers_idx ON dead_letters USING gin (identifiers);

CREATE TABLE outbox (
    controller integer NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (controller, seq)
);

-- Nobody rewrites history ----------------------------------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER checkpoints_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER notices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER cosignatures_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER timestamps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A tile only grows: what it holds already stays as it is.
CREATE FUNCTION refuse_tile_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND length(NEW.hashes) > length(OLD.hashes)
        AND substr(NEW.hashes, 1, length(OLD.hashes)) = OLD.hashes
        AND (NEW.controller, NEW.log, NEW.level, NEW.tile) = (OLD.controller, OLD.log, OLD.level, OLD.tile)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'tiles only grow: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER tiles_only_grow BEFORE UPDATE OR DELETE ON tiles
    FOR EACH ROW EXECUTE FUNCTION refuse_tile_rewrite();
CREATE TRIGGER tiles_no_truncate BEFORE TRUNCATE ON tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What must be known before the controller is; these run with the owner's rights -------------------------------------

CREATE FUNCTION find_site_key(wanted text)
RETURNS TABLE (controller integer, site integer, site_name text, controller_name text, log_name text, kind text,
               secret_sha256 bytea, origins text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT k.controller, k.site, s.name, c.name, l.name, k.kind, k.secret_sha256, s.origins
    FROM site_keys k
    JOIN sites s ON s.controller = k.controller AND s.site = k.site
    JOIN logs l ON l.controller = s.controller AND l.log = s.log
    JOIN controllers c ON c.controller = k.controller
    WHERE k.site_key = wanted AND k.revoked_at IS NULL
$$;

CREATE FUNCTION find_access_key(wanted text)
RETURNS TABLE (controller integer, controller_name text, role text, secret_sha256 bytea, expires_at timestamptz,
               sites text[], grant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT k.controller, c.name, k.role, k.secret_sha256, k.expires_at,
        CASE WHEN k.sites IS NOT NULL THEN ARRAY(
            SELECT s.name FROM sites s WHERE s.controller = k.controller AND s.site = ANY (k.sites)) END,
        k.grant_id
    FROM access_keys k JOIN controllers c ON c.controller = k.controller
    WHERE k.access_key = wanted AND k.revoked_at IS NULL AND c.erased_at IS NULL
$$;

CREATE FUNCTION find_log(wanted text)
RETURNS TABLE (controller integer, log integer, origin text, vkey text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT l.controller, l.log, l.origin, l.vkey FROM logs l WHERE l.name = wanted
$$;

-- The public site name -> its controller, for the notice endpoint.
CREATE FUNCTION find_site(wanted text)
RETURNS TABLE (controller integer, site integer, site_name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT s.controller, s.site, s.name FROM sites s WHERE s.name = wanted
$$;

-- A site with the log that takes its records, for capabilities and links that name it; none of an erased controller.
CREATE FUNCTION find_site_place(wanted text)
RETURNS TABLE (controller integer, controller_name text, site integer, site_name text, log_name text, origins text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT s.controller, c.name, s.site, s.name, l.name, s.origins
    FROM sites s
    JOIN logs l ON l.controller = s.controller AND l.log = s.log
    JOIN controllers c ON c.controller = s.controller
    WHERE s.name = wanted AND c.erased_at IS NULL
$$;

-- What became of copies put into a stream: arrays of equal length in, a row for each that the ledger has passed out.
-- outcome: recorded (with its place), conflict, dropped (also: its subject was erased). A copy that is still on its way has no row.
CREATE FUNCTION find_places(controllers integer[], events bytea[], transports text[], partitions integer[], seqs bigint[])
RETURNS TABLE (nth integer, outcome text, log_name text, index bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT (asked.n - 1)::integer,
           CASE WHEN d.letter IS NOT NULL AND d.reason = 'id-conflict' THEN 'conflict'
                WHEN e.index IS NOT NULL THEN 'recorded'
                ELSE 'dropped' END,
           CASE WHEN e.index IS NOT NULL THEN l.name END, e.index
    FROM unnest(controllers, events, transports, partitions, seqs)
         WITH ORDINALITY AS asked (controller, event, transport, partition, seq, n)
    LEFT JOIN LATERAL (
        SELECT x.letter, x.reason FROM dead_letters x
        WHERE x.transport = asked.transport AND x.partition = asked.partition AND x.seq = asked.seq LIMIT 1
    ) d ON true
    LEFT JOIN dedupe e ON e.controller = asked.controller AND e.event = asked.event
    LEFT JOIN logs l ON l.controller = e.controller AND l.log = e.log
    WHERE CASE asked.transport
        WHEN 'inbox' THEN NOT EXISTS (
            SELECT FROM inbox i WHERE i.controller = asked.controller AND i.seq = asked.seq)
        ELSE EXISTS (
            SELECT FROM positions p WHERE p.topic = asked.transport AND p.partition = asked.partition
                AND p.next_offset > asked.seq) END
$$;

-- Which numbers of the suppression file this database lacks, of controllers that it has; it must lack none.
CREATE FUNCTION missing_erasures(numbers bigint[], names text[]) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT line.number
    FROM unnest(numbers, names) AS line (number, name)
    JOIN controllers c ON c.name = line.name
    WHERE NOT EXISTS (SELECT FROM erasures e WHERE e.controller = c.controller AND e.number = line.number)
$$;

CREATE FUNCTION find_session(wanted bytea)
RETURNS TABLE (controller integer, controller_name text, person uuid, role text, expires_at timestamptz, grant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT s.controller, c.name, s.person, p.role, s.expires_at, p.grant_id
    FROM sessions s
    JOIN people p ON p.controller = s.controller AND p.person = s.person
    JOIN controllers c ON c.controller = s.controller
    WHERE s.session = wanted AND s.ended_at IS NULL AND p.removed_at IS NULL AND c.erased_at IS NULL
$$;

CREATE FUNCTION find_controller(wanted text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT c.controller FROM controllers c WHERE c.name = wanted AND c.erased_at IS NULL
$$;

-- A downstream system answers with a trigger's id; the signature is checked under its controller's key.
CREATE FUNCTION find_trigger(wanted uuid)
RETURNS TABLE (controller integer, controller_name text, system text, secret_number integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.controller, c.name, t.system, d.secret_number
    FROM triggers t
    JOIN controllers c ON c.controller = t.controller
    JOIN downstreams d ON d.controller = t.controller AND d.system = t.system
    WHERE t.trigger = wanted AND d.removed_at IS NULL AND c.erased_at IS NULL
$$;

-- Work for the exporting processes, whose controllers are not known before.
CREATE FUNCTION waiting_exports(silent_since timestamptz)
RETURNS TABLE (controller integer, controller_name text, export uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT e.controller, c.name, e.export
    FROM exports e JOIN controllers c ON c.controller = e.controller
    WHERE (e.state = 'waiting' OR (e.state = 'running' AND e.heartbeat_at < silent_since)) AND c.erased_at IS NULL
    ORDER BY e.asked_at
$$;

-- What two people agreed on and whose time has come.
CREATE FUNCTION due_approvals() RETURNS TABLE (controller integer, controller_name text, approval uuid, act text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT a.controller, c.name, a.approval, a.act
    FROM approvals a JOIN controllers c ON c.controller = a.controller
    WHERE a.verdict = 'approved' AND a.done_at IS NULL AND a.not_before <= now() AND c.erased_at IS NULL
    ORDER BY a.not_before
$$;

-- Retention clears parts one by one, leaving their digests; nothing else changes a payload, so this is no grant. Arrays
-- of equal length: a place, and the digest of each part that goes. A digest that is there already is never replaced.
CREATE FUNCTION clear_parts(of integer, logs integer[], indexes bigint[], whos bytea[], whats bytea[], contexts bytea[])
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    UPDATE payloads p SET
        who = CASE WHEN n.who IS NULL THEN p.who END, who_digest = coalesce(p.who_digest, n.who),
        what = CASE WHEN n.what IS NULL THEN p.what END, what_digest = coalesce(p.what_digest, n.what),
        context = CASE WHEN n.context IS NULL THEN p.context END, context_digest = coalesce(p.context_digest, n.context)
    FROM unnest(logs, indexes, whos, whats, contexts) AS n (log, index, who, what, context)
    WHERE p.controller = of AND p.log = n.log AND p.index = n.index
$$;

-- Grants -------------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

GRANT SELECT ON sealing_keys, publishers TO sayso_ingest, sayso_ledger;
GRANT INSERT ON sealing_keys, publishers TO sayso_ledger;
GRANT SELECT ON controllers, sites, notices, notice_matches TO sayso_ingest;
GRANT INSERT, SELECT ON inbox TO sayso_ingest;
GRANT EXECUTE ON FUNCTION find_site_key(text), find_site(text),
    find_places(integer[], bytea[], text[], integer[], bigint[]) TO sayso_ingest;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO sayso_ledger;
GRANT INSERT ON deployment, log_heads, records, tiles, checkpoints, subjects, identifiers, payloads, dedupe,
    consent_state, positions, dead_letters, outbox TO sayso_ledger;
GRANT UPDATE ON log_heads, tiles, dedupe, consent_state, positions, outbox TO sayso_ledger;
GRANT UPDATE (vkey) ON logs TO sayso_ledger;
-- FOR UPDATE needs the right to update something; a subject's row is locked, never changed, while it is recorded to.
GRANT UPDATE (key_epoch) ON subjects TO sayso_ledger;
-- The same for inbox rows, which are locked with SKIP LOCKED before they are deleted.
GRANT UPDATE (epoch) ON inbox TO sayso_ledger;
GRANT DELETE ON inbox, outbox, consent_state, dead_letters, subjects, identifiers, payloads TO sayso_ledger;

GRANT SELECT ON controllers, logs, log_heads, sites, notices, notice_matches, records, tiles, checkpoints, subjects,
    identifiers, payloads, dedupe, consent_state, dead_letters TO sayso_query;
GRANT EXECUTE ON FUNCTION find_access_key(text), find_log(text) TO sayso_query;

GRANT SELECT ON log_keys, cosignatures, timestamps, timestamp_wishes, erasures, erased_parts, tombstones, dockets,
    minimal_proof_rules, minimal_proofs TO sayso_ledger;
GRANT INSERT ON log_keys, cosignatures, timestamps, erasures, erased_parts, tombstones, dockets, minimal_proofs
    TO sayso_ledger;
GRANT DELETE ON timestamp_wishes, tombstones, minimal_proofs TO sayso_ledger;
GRANT UPDATE (ends_at) ON log_keys TO sayso_ledger;
GRANT UPDATE (declared_log, declared_index) ON erased_parts TO sayso_ledger;
GRANT UPDATE (erased_at, expires_at) ON tombstones TO sayso_ledger;
GRANT UPDATE (sealed, wrapped_key, key_epoch, closed_at, outcome, told_at) ON dockets TO sayso_ledger;
GRANT UPDATE (replaced_at, destroyed_at) ON sealing_keys TO sayso_ledger;
GRANT UPDATE (wrapped_key, key_epoch) ON subjects TO sayso_ledger;
GRANT UPDATE (erased_at) ON controllers TO sayso_ledger;
GRANT UPDATE (closed_at) ON logs TO sayso_ledger;
GRANT INSERT ON logs TO sayso_ledger;
GRANT UPDATE (log) ON sites TO sayso_ledger;
GRANT UPDATE (revoked_at) ON site_keys, access_keys TO sayso_ledger;
GRANT EXECUTE ON FUNCTION missing_erasures(bigint[], text[]) TO sayso_ingest, sayso_ledger, sayso_query;

GRANT SELECT ON log_keys, cosignatures, timestamps, timestamp_wishes, erasures, erased_parts, dockets,
    minimal_proof_rules, minimal_proofs TO sayso_query;
GRANT INSERT ON timestamp_wishes TO sayso_query;
GRANT UPDATE (asked_by, reason, released_by, released_at) ON minimal_proofs TO sayso_query;
-- Query asks for changes by publishing events, like ingest.
GRANT SELECT ON sealing_keys, publishers TO sayso_query;
GRANT SELECT, INSERT ON inbox TO sayso_query;
GRANT EXECUTE ON FUNCTION find_places(integer[], bytea[], text[], integer[], bigint[]) TO sayso_query;

GRANT SELECT, INSERT, DELETE ON links TO sayso_ledger;
GRANT UPDATE (weak) ON links TO sayso_ledger;
GRANT SELECT, INSERT ON corrections TO sayso_ledger;
GRANT UPDATE (is_shared) ON subjects TO sayso_ledger;
GRANT SELECT ON catalogue_services, compliance_steps TO sayso_ledger;
GRANT SELECT ON catalogue_services TO sayso_ingest;
GRANT SELECT ON links, catalogue_services, compliance_steps TO sayso_query;
-- A DPO states these over the API; they are the controller's own words, and nobody's personal data.
GRANT INSERT ON notices, notice_matches, catalogue_services, compliance_steps TO sayso_query;
GRANT EXECUTE ON FUNCTION find_site(text) TO sayso_query;
GRANT EXECUTE ON FUNCTION find_site_place(text) TO sayso_ingest, sayso_query;

GRANT EXECUTE ON FUNCTION find_session(bytea), find_controller(text), find_trigger(uuid),
    waiting_exports(timestamptz), due_approvals() TO sayso_query;
-- Whose word it is that a visitor is somebody the site knows.
GRANT EXECUTE ON FUNCTION find_site_key(text) TO sayso_query;

GRANT SELECT ON people, sessions, grants, terms, approvals, requests, request_steps, holds, held_erasures, restrictions,
    suppressed_objections, downstreams, triggers, deliveries, feeds, retention_rules, retention_runs, account_deletions,
    retained_parts, exports,
    figures TO sayso_ledger, sayso_query;
GRANT INSERT ON requests, request_steps, holds, held_erasures, restrictions, suppressed_objections, triggers, deliveries,
    feeds, retention_runs, account_deletions, retained_parts, figures TO sayso_ledger;
GRANT UPDATE ON requests, holds, restrictions, suppressed_objections, triggers, deliveries, feeds, retention_runs,
    account_deletions, figures, approvals TO sayso_ledger;
GRANT DELETE ON requests, request_steps, holds, held_erasures, restrictions, suppressed_objections, triggers, deliveries,
    feeds, account_deletions, retention_runs, people, sessions, exports, grants, approvals TO sayso_ledger;
GRANT EXECUTE ON FUNCTION clear_parts(integer, integer[], bigint[], bytea[], bytea[], bytea[]) TO sayso_ledger;

GRANT SELECT, INSERT, DELETE ON ages TO sayso_ledger;
GRANT SELECT, INSERT ON announced_versions TO sayso_ledger;
GRANT SELECT ON ages TO sayso_query;

-- Query keeps the controller's own arrangements; nobody's personal data but its own people's names.
GRANT SELECT, INSERT ON access_keys TO sayso_query;
GRANT UPDATE (revoked_at, expires_at, label) ON access_keys TO sayso_query;
GRANT INSERT ON people, sessions, grants, terms, approvals, downstreams, retention_rules, retention_runs, exports
    TO sayso_query;
GRANT UPDATE (removed_at, issuer, subject_sha256) ON people TO sayso_query;
GRANT UPDATE (ended_at, expires_at) ON sessions TO sayso_query;
GRANT DELETE ON sessions TO sayso_query;
GRANT UPDATE (revoked_at, revoked_by) ON grants TO sayso_query;
GRANT UPDATE (decided_by, decided_at, decided_because, verdict, done_at) ON approvals TO sayso_query;
GRANT SELECT, INSERT, DELETE ON erasure_asks TO sayso_query;
GRANT UPDATE (asked_at, event) ON erasure_asks TO sayso_query;
GRANT SELECT, DELETE ON erasure_asks TO sayso_ledger;
GRANT UPDATE ON downstreams TO sayso_query;
GRANT UPDATE (next_at, dead_at) ON deliveries TO sayso_query;
GRANT UPDATE ON exports TO sayso_query;

-- Row-level security: an unset controller sees nothing -----------------------------------------------------------------

CREATE FUNCTION current_controller() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT nullif(current_setting('sayso.controller', true), '')::integer
$$;
GRANT EXECUTE ON FUNCTION current_controller() TO sayso_ingest, sayso_query;

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['controllers', 'logs', 'log_heads', 'sites', 'site_keys', 'access_keys', 'notices',
        'notice_matches', 'records', 'tiles', 'checkpoints', 'subjects', 'identifiers', 'payloads', 'dedupe',
        'consent_state', 'inbox', 'dead_letters', 'outbox', 'log_keys', 'cosignatures', 'timestamps',
        'timestamp_wishes', 'erasures', 'erased_parts', 'tombstones', 'dockets', 'minimal_proof_rules',
        'minimal_proofs', 'links', 'corrections', 'catalogue_services', 'compliance_steps', 'people', 'sessions', 'grants',
        'terms', 'approvals', 'erasure_asks', 'requests', 'request_steps', 'holds', 'held_erasures', 'restrictions',
        'suppressed_objections', 'downstreams', 'triggers', 'deliveries', 'feeds', 'retention_rules', 'retention_runs',
        'account_deletions', 'retained_parts', 'exports', 'figures', 'ages',
        'announced_versions']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_controller ON %I USING (controller = current_controller())', walled);
    END LOOP;
END
$$;

-- A regulator sees the subjects of the grant alone; unset, the controller's own people see everybody of the controller.
CREATE FUNCTION is_in_scope(wanted uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT coalesce(current_setting('sayso.subjects', true), '') = ''
        OR wanted = ANY (current_setting('sayso.subjects', true)::uuid[])
$$;
REVOKE ALL ON FUNCTION is_in_scope(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_in_scope(uuid) TO sayso_ingest, sayso_query;

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['subjects', 'identifiers', 'payloads', 'consent_state', 'requests', 'restrictions',
        'erasures', 'holds', 'triggers', 'account_deletions', 'erasure_asks', 'ages']
    LOOP
        EXECUTE format('CREATE POLICY in_scope ON %I AS RESTRICTIVE USING (is_in_scope(subject))', walled);
    END LOOP;
    -- What is of people and does not say whose: no regulator's, whoever the grant is about.
    FOREACH walled IN ARRAY ARRAY['dockets', 'minimal_proofs', 'dead_letters', 'tombstones', 'suppressed_objections',
        'held_erasures', 'request_steps', 'approvals', 'deliveries', 'exports', 'people', 'sessions', 'access_keys']
    LOOP
        EXECUTE format('CREATE POLICY in_scope ON %I AS RESTRICTIVE USING (is_in_scope(NULL))', walled);
    END LOOP;
END
$$;
CREATE POLICY in_scope ON links AS RESTRICTIVE USING (is_in_scope(strong) OR is_in_scope(weak));
