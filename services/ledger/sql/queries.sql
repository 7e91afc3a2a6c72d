-- Statements of the ledger. It runs as sayso_ledger, which bypasses row-level security: every statement that touches
-- a controller's data names the controller.

-- logs --
-- Every log with its controller, its successor, and whether its controller was erased.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin, l.vkey, l.follows_size IS NOT NULL AS follows,
    (SELECT n.name FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log) AS successor,
    c.erased_at IS NOT NULL AS is_erased
FROM logs l JOIN controllers c ON c.controller = l.controller
ORDER BY l.controller, l.log;

-- sites --
-- Which site's records go to which log.
SELECT controller, log, name FROM sites;

-- publishers --
-- Processes that may publish, with what they may publish.
SELECT publisher, public_key, types FROM publishers WHERE revoked_at IS NULL;

-- known_notices --
-- Hashes that a controller has published or matched to a published notice.
SELECT controller, notice FROM notices UNION SELECT controller, shown FROM notice_matches;

-- as_the_login --
-- For the rest of the transaction: only the login itself may see and end its other sessions.
SET LOCAL ROLE NONE;

-- end_stalled_writers --
-- End ledger sessions in which Postgres has waited this many seconds, inside a transaction, for a word of their process.
-- Postgres does so by itself while a session is idle, but not while it waits for COPY's rows.
SELECT count(pg_terminate_backend(pid)) AS ended
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
    AND wait_event = 'ClientRead' AND state <> 'idle' AND state_change < now() - $2 * interval '1 second';

-- lock_heads --
-- The fence: whoever holds these rows is the one writer of these logs. Always in this order.
SELECT controller, log, size, root, prev, recorded_at
FROM log_heads
WHERE (controller, log) IN (SELECT * FROM unnest($1::integer[], $2::integer[]))
ORDER BY controller, log
FOR UPDATE;

-- any_closed --
-- Whether one of these logs takes no more records; asked once their heads are locked.
SELECT EXISTS (
    SELECT FROM logs
    WHERE (controller, log) IN (SELECT * FROM unnest($1::integer[], $2::integer[])) AND closed_at IS NOT NULL
) AS is_closed;

-- head --
-- One log's head, unlocked.
SELECT size, root, prev, signed_size FROM log_heads WHERE controller = $1 AND log = $2;

-- head_by_origin --
-- The head of the log that was signed under this origin.
SELECT l.controller, l.log, h.size FROM logs l JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.origin = $1;

-- heads_to_sign --
-- Logs with records under no checkpoint yet, or with no checkpoint at all.
SELECT h.controller, h.log, l.name, l.origin, h.size, h.root, h.signed_size
FROM log_heads h JOIN logs l ON l.controller = h.controller AND l.log = h.log
WHERE h.signed_size IS DISTINCT FROM h.size AND l.vkey IS NOT NULL
    AND NOT EXISTS (SELECT FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log)
ORDER BY h.controller, h.log;

-- edge_tiles --
-- The named tiles of one log.
SELECT t.level, t.tile, t.hashes
FROM unnest($3::smallint[], $4::bigint[]) AS wanted (level, tile)
JOIN tiles t ON t.controller = $1 AND t.log = $2 AND t.level = wanted.level AND t.tile = wanted.tile;

-- known_events --
-- Which of these event names are recorded, where, and as what. = ANY, because a join with unnest reads every row of the
-- controller as long as nobody has analysed the table; the payload is asked for row by row for the same reason.
SELECT d.event, d.log, d.index, d.content, d.received_at,
    (SELECT p.subject FROM payloads p WHERE p.controller = d.controller AND p.log = d.log AND p.index = d.index)
FROM dedupe d
WHERE d.controller = $1 AND d.event = ANY ($2::bytea[]);

-- state_age --
-- What a record says of somebody's age; the same record again changes nothing.
INSERT INTO ages (controller, subject, event, is_over, stated_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- clear_ages --
-- What is known of one subject's, before it is said anew.
DELETE FROM ages WHERE controller = $1 AND subject = $2;

-- places_of --
-- Where events stand, in that order.
SELECT event, log, index FROM dedupe
WHERE controller = $1 AND event = ANY ($2::bytea[]) AND index IS NOT NULL
ORDER BY log, index;

-- known_identifiers --
-- Which subject each identifier name belongs to.
SELECT identifier, subject FROM identifiers WHERE controller = $1 AND identifier = ANY ($2::bytea[]);

-- lock_subjects --
-- Keep these subjects from being erased while they are recorded to; in id order, after the heads.
SELECT subject, wrapped_key, key_epoch
FROM subjects
WHERE controller = $1 AND subject = ANY ($2::uuid[])
ORDER BY subject
FOR KEY SHARE;

-- log_subject --
-- The stand-in subject for a log's events without a subject.
SELECT subject FROM subjects WHERE controller = $1 AND log = $2;

-- append --
-- What an append changes besides its rows, in one exchange: new tiles and tiles that grew, the head, which only the
-- holder of its lock may move, and the message to publish once this transaction is committed ($10 NULL: none).
WITH grown AS (
    INSERT INTO tiles (controller, log, level, tile, hashes)
    SELECT $1, $2, level, tile, hashes FROM unnest($7::smallint[], $8::bigint[], $9::bytea[]) AS new (level, tile, hashes)
    ON CONFLICT (controller, log, level, tile) DO UPDATE SET hashes = excluded.hashes
), announced AS (
    INSERT INTO outbox (controller, topic, key, value) SELECT $1, $10, $11, $12 WHERE $10::text IS NOT NULL
)
UPDATE log_heads SET size = $3, root = $4, prev = $5, recorded_at = $6 WHERE controller = $1 AND log = $2;

-- write_state --
-- Put decisions that outrank what stands; the same order as schemas.ranking.Decided.order.
INSERT INTO consent_state AS s (controller, subject, purpose, legal_basis, decision, rank, event)
SELECT $1, subject, purpose, legal_basis, decision, rank, event
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[])
    AS new (subject, purpose, legal_basis, decision, rank, event)
ON CONFLICT (controller, subject, purpose, legal_basis) DO UPDATE
SET decision = excluded.decision, rank = excluded.rank, event = excluded.event
WHERE (excluded.rank, excluded.decision IN ('denied', 'objected'), excluded.event)
    > (s.rank, s.decision IN ('denied', 'objected'), s.event);

-- clear_state --
-- Forget what is projected for one subject, to project it again.
DELETE FROM consent_state WHERE controller = $1 AND subject = $2;

-- remember_corrected --
-- Events that corrections undo.
INSERT INTO corrections (controller, event) SELECT $1, unnest($2::bytea[]) ON CONFLICT DO NOTHING;

-- corrected_events --
-- Which of these events a correction undoes.
SELECT event FROM corrections WHERE controller = $1 AND event = ANY ($2::bytea[]);

-- earlier_copy --
-- A copy with the same content was received earlier: that one ranks.
UPDATE dedupe SET received_at = $3 WHERE controller = $1 AND event = $2 AND received_at > $3;

-- subject_payloads --
-- Every payload of one subject whose `what` part still exists, with its log's origin.
SELECT p.log, p.index, p.nonce, p.what, l.origin
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = $2 AND p.what IS NOT NULL
ORDER BY p.log, p.index;

-- received_times --
-- The ranking time of each of these events.
SELECT event, received_at FROM dedupe WHERE controller = $1 AND event = ANY ($2::bytea[]);

-- lock_subject --
-- One subject's key, locked against erasure and against recording while its state is projected again.
SELECT subject, wrapped_key, key_epoch, log FROM subjects WHERE controller = $1 AND subject = $2 FOR UPDATE;

-- subjects_after --
-- The next subjects in id order, for long walks.
SELECT subject FROM subjects WHERE controller = $1 AND ($2::uuid IS NULL OR subject > $2) ORDER BY subject LIMIT $3;

-- subject_key --
-- One subject's wrapped key.
SELECT wrapped_key, key_epoch FROM subjects WHERE controller = $1 AND subject = $2;

-- set_aside --
-- A message for the dead letters.
INSERT INTO dead_letters (controller, reason, transport, partition, seq, log, site, event, identifiers, epoch, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- expire_dead_letters --
-- Dead letters live 30 days.
DELETE FROM dead_letters WHERE set_aside_at < now() - interval '30 days';

-- read_outbox --
-- The oldest messages to publish; another ledger's relay passes over them meanwhile.
SELECT controller, seq, topic, key, value FROM outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED;

-- empty_outbox --
-- These were published.
DELETE FROM outbox WHERE (controller, seq) IN (SELECT * FROM unnest($1::integer[], $2::bigint[]));

-- unopened_logs --
-- Logs the operator made that have no verifier key or head yet.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin, l.vkey
FROM logs l JOIN controllers c ON c.controller = l.controller
LEFT JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.vkey IS NULL OR h.log IS NULL;

-- publish_vkey --
-- Name the first key of a log, once; $4 says where its private half is.
WITH named AS (
    UPDATE logs SET vkey = $3 WHERE controller = $1 AND log = $2 AND vkey IS NULL RETURNING controller, log, vkey
)
INSERT INTO log_keys (controller, log, number, vkey, reference) SELECT controller, log, 1, vkey, $4 FROM named;

-- vkey --
-- The key a log was opened with.
SELECT vkey FROM logs WHERE controller = $1 AND log = $2;

-- open_head --
-- A log begins empty.
INSERT INTO log_heads (controller, log, root, prev) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- entries --
-- A run of entries in order.
SELECT index, entry FROM records WHERE controller = $1 AND log = $2 AND index >= $3 AND index < $4 ORDER BY index;

-- claim_signature --
-- Compare-and-swap on the signed size: of two ledgers only one publishes a checkpoint after the other's. It may be shown
-- at once unless witnesses must agree first ($5).
UPDATE log_heads SET signed_size = $4, published_size = CASE WHEN $5 THEN published_size ELSE $4 END
WHERE controller = $1 AND log = $2 AND signed_size IS NOT DISTINCT FROM $3 AND size >= $4;

-- show_checkpoint --
-- Enough witnesses have agreed: it may be shown.
UPDATE log_heads SET published_size = $3
WHERE controller = $1 AND log = $2 AND coalesce(published_size, -1) < $3 AND signed_size >= $3;

-- publish_checkpoint --
-- The signed note; from here on it is public, unless it is held back.
INSERT INTO checkpoints (controller, log, size, root, note) VALUES ($1, $2, $3, $4, $5);

-- last_checkpoint --
-- The newest checkpoint of one log.
SELECT size, root, note FROM checkpoints WHERE controller = $1 AND log = $2 ORDER BY size DESC LIMIT 1;

-- high_water_id --
-- The high-water directory this database belongs to.
SELECT high_water_id FROM deployment;

-- adopt_high_water --
-- Bind a database that has signed nothing yet to a high-water directory.
INSERT INTO deployment (high_water_id) SELECT $1
WHERE NOT EXISTS (SELECT FROM log_heads WHERE signed_size IS NOT NULL)
ON CONFLICT DO NOTHING;

-- signed_logs --
-- How much each log has published; of a log with a successor nothing counts any more.
SELECT l.origin, h.signed_size FROM log_heads h JOIN logs l ON l.controller = h.controller AND l.log = h.log
WHERE h.signed_size IS NOT NULL
    AND NOT EXISTS (SELECT FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log);
