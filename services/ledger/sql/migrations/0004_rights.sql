-- Rights: roles, people and grants; requests, holds, approvals; triggers to downstream systems; retention; exports; figures.

-- Who may what -----------------------------------------------------------------------------------------------------------

-- consent: what sites post. access: who looked at personal data, one log a controller.
ALTER TABLE logs ADD COLUMN kind text NOT NULL DEFAULT 'consent' CHECK (kind IN ('consent', 'access'));
CREATE UNIQUE INDEX logs_access_key ON logs (controller) WHERE kind = 'access' AND closed_at IS NULL;

ALTER TABLE access_keys DROP CONSTRAINT access_keys_role_check;
UPDATE access_keys SET role = 'site' WHERE role = 'reader';
-- A regulator reads under a grant, by a key of that grant; one that was made before there were any opens nothing now.
UPDATE access_keys SET revoked_at = coalesce(revoked_at, now()) WHERE role = 'auditor';
ALTER TABLE access_keys
    ADD CONSTRAINT access_keys_role_check CHECK (role IN ('site', 'privacy', 'dpo', 'auditor', 'admin')),
    -- What it is for, in the controller's words.
    ADD COLUMN label text,
    ADD COLUMN expires_at timestamptz,
    -- The key that this one takes the place of; both are in force for a while.
    ADD COLUMN replaces text,
    -- Of a key for machines: only subjects of these sites; NULL is every site.
    ADD COLUMN sites integer[],
    ADD COLUMN grant_id uuid,
    ADD CONSTRAINT access_keys_grant_check CHECK (
        (role = 'auditor') = (grant_id IS NOT NULL) OR (role = 'auditor' AND revoked_at IS NOT NULL));

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

-- When the person was told; an erasure with nobody to tell sets it when the docket is opened.
ALTER TABLE dockets ADD COLUMN told_at timestamptz;

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

-- What must be known before the controller is ---------------------------------------------------------------------------

DROP FUNCTION find_access_key(text);
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

REVOKE ALL ON FUNCTION find_access_key(text), find_session(bytea), find_controller(text), find_trigger(uuid),
    waiting_exports(timestamptz), due_approvals() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_access_key(text), find_session(bytea), find_controller(text), find_trigger(uuid),
    waiting_exports(timestamptz), due_approvals() TO sayso_query;
-- Whose word it is that a visitor is somebody the site knows.
GRANT EXECUTE ON FUNCTION find_site_key(text) TO sayso_query;

-- Grants -------------------------------------------------------------------------------------------------------------

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
GRANT UPDATE (told_at) ON dockets TO sayso_ledger;
REVOKE ALL ON FUNCTION clear_parts(integer, integer[], bigint[], bytea[], bytea[], bytea[]) FROM PUBLIC;
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

-- What query publishes besides since then.
UPDATE publishers SET types = ARRAY(
    SELECT DISTINCT t FROM unnest(types || ARRAY['consent.withdrawn', 'access.checked', 'access.granted', 'access.revoked', 'hold.reviewed',
        'notice.told', 'request.identity', 'request.reminded', 'request.told', 'request.withdrawn',
        'restriction.lifted', 'restriction.placed', 'correction', 'trigger.answered']) AS t ORDER BY t)
WHERE service = 'query';
UPDATE publishers SET types = ARRAY(
    SELECT DISTINCT t FROM unnest(types || ARRAY['account.deleted', 'account.restored', 'age.stated', 'notice.told']) AS t ORDER BY t)
WHERE service = 'ingest';

-- What was published before this migration is nobody's news.
INSERT INTO announced_versions (controller, site, notice_id, version)
SELECT DISTINCT n.controller, n.site, j.body ->> 'notice_id', j.body ->> 'version'
FROM notices n CROSS JOIN LATERAL (SELECT convert_from(n.content, 'UTF8')::jsonb AS body) j;

-- Row-level security -------------------------------------------------------------------------------------------------

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['people', 'sessions', 'grants', 'terms', 'approvals', 'erasure_asks',
        'requests', 'request_steps', 'holds',
        'held_erasures', 'restrictions', 'suppressed_objections', 'downstreams', 'triggers', 'deliveries', 'feeds',
        'retention_rules', 'retention_runs', 'account_deletions', 'retained_parts', 'exports', 'figures', 'ages',
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
