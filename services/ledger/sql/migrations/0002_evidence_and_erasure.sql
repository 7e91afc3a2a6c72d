-- Evidence from outside (keys in time, cosignatures, timestamps), and erasure that keeps every other proof.

-- The log ------------------------------------------------------------------------------------------------------------

-- Size of the largest checkpoint that may be shown: with witnesses that must agree first it lags behind signed_size.
ALTER TABLE log_heads ADD COLUMN published_size bigint;
UPDATE log_heads SET published_size = signed_size;
ALTER TABLE log_heads ADD CONSTRAINT log_heads_published_check CHECK (published_size <= signed_size);

-- A successor log names the last checkpoint of its predecessor that is known outside: size and root.
ALTER TABLE logs ADD COLUMN follows_size bigint;
ALTER TABLE logs ADD COLUMN follows_root bytea CHECK (length(follows_root) = 32);
-- A closed log takes no more records: a successor does.
ALTER TABLE logs ADD COLUMN closed_at timestamptz;

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
INSERT INTO log_keys (controller, log, number, vkey, reference, made_at)
SELECT controller, log, 1, vkey, 'file:' || name || '.key', created_at FROM logs WHERE vkey IS NOT NULL;

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

-- What a receipt says of the controller (schemas.parties), canonical JSON; NULL until the operator has set it.
ALTER TABLE controllers ADD COLUMN details bytea;
-- An erased controller keeps its logs and its name, and nothing of any person.
ALTER TABLE controllers ADD COLUMN erased_at timestamptz;

-- Sealing keys in time -----------------------------------------------------------------------------------------------

-- Since then nothing new is sealed to this key; it is destroyed when nothing that was can still arrive.
ALTER TABLE sealing_keys ADD COLUMN replaced_at timestamptz;

-- Erasure ------------------------------------------------------------------------------------------------------------

-- An event that came too late, after its subject was erased, has a name and no place.
ALTER TABLE dedupe ALTER COLUMN index DROP NOT NULL;

-- An erasure deletes those that name the person, while it holds up every recorder of the controller.
CREATE INDEX dead_letters_identifiers_idx ON dead_letters USING gin (identifiers);

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

-- Nobody rewrites evidence -------------------------------------------------------------------------------------------

CREATE TRIGGER cosignatures_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER timestamps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What must be known before the controller is --------------------------------------------------------------------------

-- Which numbers of the suppression file this database lacks, of controllers that it has; it must lack none.
CREATE FUNCTION missing_erasures(numbers bigint[], names text[]) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT line.number
    FROM unnest(numbers, names) AS line (number, name)
    JOIN controllers c ON c.name = line.name
    WHERE NOT EXISTS (SELECT FROM erasures e WHERE e.controller = c.controller AND e.number = line.number)
$$;
REVOKE ALL ON FUNCTION missing_erasures(bigint[], text[]) FROM PUBLIC;

-- A copy whose subject was erased has a name without a place: dropped.
CREATE OR REPLACE FUNCTION find_places(controllers integer[], events bytea[], transports text[], partitions integer[], seqs bigint[])
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

-- Grants -------------------------------------------------------------------------------------------------------------

GRANT SELECT ON log_keys, cosignatures, timestamps, timestamp_wishes, erasures, erased_parts, tombstones, dockets,
    minimal_proof_rules, minimal_proofs TO sayso_ledger;
GRANT INSERT ON log_keys, cosignatures, timestamps, erasures, erased_parts, tombstones, dockets, minimal_proofs
    TO sayso_ledger;
GRANT DELETE ON timestamp_wishes, tombstones, minimal_proofs TO sayso_ledger;
GRANT UPDATE (ends_at) ON log_keys TO sayso_ledger;
GRANT UPDATE (declared_log, declared_index) ON erased_parts TO sayso_ledger;
GRANT UPDATE (erased_at, expires_at) ON tombstones TO sayso_ledger;
GRANT UPDATE (sealed, wrapped_key, key_epoch, closed_at, outcome) ON dockets TO sayso_ledger;
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

-- Row-level security: an unset controller sees nothing -----------------------------------------------------------------

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['log_keys', 'cosignatures', 'timestamps', 'timestamp_wishes', 'erasures',
        'erased_parts', 'tombstones', 'dockets', 'minimal_proof_rules', 'minimal_proofs']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_controller ON %I USING (controller = current_controller())', walled);
    END LOOP;
END
$$;
