-- Statements of erasures. Like all of the ledger's they name the controller; it bypasses row-level security.

-- open_logs --
-- The logs of a controller that still take records, with their sites, in the order in which heads are locked.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin,
    ARRAY(SELECT s.name FROM sites s WHERE s.controller = l.controller AND s.log = l.log ORDER BY s.site) AS sites,
    l.follows_size IS NOT NULL AS follows, l.follows_size, l.follows_root, h.size, p.origin AS followed
FROM logs l JOIN controllers c ON c.controller = l.controller
JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
LEFT JOIN logs p ON p.controller = l.controller AND p.log = l.predecessor
WHERE l.controller = $1 AND l.closed_at IS NULL
ORDER BY l.log;

-- tombstones --
-- Which of these identifiers belong to somebody who was erased, and when.
SELECT identifier, erased_at FROM tombstones WHERE controller = $1 AND identifier = ANY ($2::bytea[]);

-- name_dropped --
-- An event that came after its subject was erased leaves its name and nothing else.
INSERT INTO dedupe (controller, event, log) SELECT $1, event, $3 FROM unnest($2::bytea[]) AS new (event)
ON CONFLICT DO NOTHING;

-- last_number --
-- The largest number of an erasure that this database knows.
SELECT coalesce(max(number), 0) AS number FROM erasures;

-- erasure_of_subject --
-- The erasure that a subject has had already.
SELECT number FROM erasures WHERE controller = $1 AND subject = $2;

-- subject_parts --
-- Everything recorded of one subject.
SELECT p.log, p.index, l.origin, p.nonce, p.who, p.what, p.context, p.who_digest, p.context_digest
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = $2
ORDER BY p.log, p.index;

-- identifiers_of --
-- The names that lead to a subject.
SELECT identifier FROM identifiers WHERE controller = $1 AND subject = $2;

-- rules --
-- Purposes whose consents leave a minimal proof behind.
SELECT purpose, ground, keep_days FROM minimal_proof_rules WHERE controller = $1;

-- write_erasure --
-- The number of the suppression file's line, applied.
INSERT INTO erasures (controller, number, event, subject, ground, erased_at) VALUES ($1, $2, $3, $4, $5, $6);

-- count_parts --
-- How many parts of each log are about to be deleted of one subject. What a minimal proof keeps is not deleted.
INSERT INTO erased_parts (controller, number, log, who, what, context)
SELECT p.controller, $2, p.log, count(p.who), count(p.what) - count(m.index), count(p.context)
FROM payloads p
LEFT JOIN minimal_proofs m ON m.controller = p.controller AND m.log = p.log AND m.index = p.index AND m.number = $2
WHERE p.controller = $1 AND p.subject = $3
GROUP BY p.controller, p.log;

-- count_controller --
-- How many parts of each log go with their controller: those that minimal proofs keep too, and last those of the very
-- entries that say so, which for a closed log stand in the one that took over from it.
INSERT INTO erased_parts (controller, number, log, who, what, context)
WITH RECURSIVE heirs (log, heir) AS (
    SELECT log, log FROM log_heads WHERE controller = $1
    UNION ALL
    SELECT h.log, n.log FROM heirs h JOIN logs n ON n.controller = $1 AND n.predecessor = h.heir
), entries (log, made) AS (
    SELECT h.heir, count(*) FROM heirs h JOIN logs n ON n.controller = $1 AND n.log = h.heir AND n.closed_at IS NULL
    GROUP BY h.heir
)
SELECT h.controller, $2, h.log, coalesce(p.who, 0) + coalesce(e.made, 0),
    coalesce(p.what, 0) + coalesce(m.what, 0) + coalesce(e.made, 0), coalesce(p.context, 0) + coalesce(e.made, 0)
FROM log_heads h
LEFT JOIN entries e ON e.log = h.log
LEFT JOIN (
    SELECT log, count(who) AS who, count(what) AS what, count(context) AS context
    FROM payloads WHERE controller = $1 GROUP BY log
) p ON p.log = h.log
LEFT JOIN (SELECT log, count(*) AS what FROM minimal_proofs WHERE controller = $1 GROUP BY log) m ON m.log = h.log
WHERE h.controller = $1;

-- keep_minimal_proof --
-- What a written rule keeps of one record.
INSERT INTO minimal_proofs
    (controller, log, index, number, identifier, nonce, what, who_digest, context_digest, ground, keep_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- open_docket --
-- What must outlive the erasure until everybody has answered.
INSERT INTO dockets (controller, docket, sealed, wrapped_key, key_epoch, opened_at, limit_at)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- nobody_to_tell --
-- An erasure that leaves no address to answer to.
UPDATE dockets SET told_at = opened_at WHERE controller = $1 AND docket = $2;

-- told --
-- The person knows; from then on only downstream systems keep the docket open.
UPDATE dockets SET told_at = $3 WHERE controller = $1 AND docket = $2 AND told_at IS NULL AND closed_at IS NULL;

-- request_steps --
-- What was done about a request so far.
SELECT type, at FROM request_steps WHERE controller = $1 AND request = $2 ORDER BY nth;

-- answer_request --
-- A request by the number of a receipt alone: nothing but the ask says whose it was.
UPDATE requests SET docket = $3, subject = NULL WHERE controller = $1 AND request = $2 AND docket IS NULL;

-- bury --
-- Tombstones; one that stands is moved on, never back: an older erasure may be applied again after a restore.
INSERT INTO tombstones (controller, identifier, erased_at, expires_at)
SELECT $1, identifier, $3, $4 FROM unnest($2::bytea[]) AS new (identifier)
ON CONFLICT (controller, identifier) DO UPDATE
SET erased_at = greatest(tombstones.erased_at, excluded.erased_at),
    expires_at = greatest(tombstones.expires_at, excluded.expires_at);

-- forget_events --
-- Of the events of an erased subject only their names are left.
UPDATE dedupe SET content = NULL, received_at = NULL WHERE controller = $1 AND event = ANY ($2::bytea[]);

-- forget_places --
-- The same for all records of one subject, where not every event's name could be learned.
UPDATE dedupe d SET content = NULL, received_at = NULL
FROM payloads p
WHERE p.controller = $1 AND p.subject = $2
    AND d.controller = p.controller AND d.log = p.log AND d.index = p.index AND d.content IS NOT NULL;

-- delete_subject --
-- Everything of one subject: dead letters that name it, state, identifiers, payloads, links, and its key. Who was linked
-- to it and stays (a shared tablet) stays shared for good; a link of a stronger subject to it stays, void: who is erased
-- and comes back is another, whom a link from before must not reach when links are projected again.
WITH letters AS (
    DELETE FROM dead_letters WHERE controller = $1 AND identifiers && $3::bytea[]
), shared AS (
    UPDATE subjects SET is_shared = true
    WHERE controller = $1
        AND subject IN (SELECT weak FROM links WHERE controller = $1 AND strong = $2 AND state = 'linked')
), stronger AS (
    DELETE FROM links WHERE controller = $1 AND strong = $2
), weaker AS (
    UPDATE links SET weak = NULL WHERE controller = $1 AND weak = $2
), asked AS (
    -- What they asked for is answered all the same: the docket's number stands for them.
    UPDATE requests SET subject = NULL,
        docket = (SELECT max(number) FROM erasures WHERE controller = $1 AND subject = $2)
    WHERE controller = $1 AND subject = $2
), state AS (
    DELETE FROM consent_state WHERE controller = $1 AND subject = $2
), account AS (
    DELETE FROM account_deletions WHERE controller = $1 AND subject = $2
), stated AS (
    DELETE FROM ages WHERE controller = $1 AND subject = $2
), names AS (
    DELETE FROM identifiers WHERE controller = $1 AND subject = $2
), parts AS (
    DELETE FROM payloads WHERE controller = $1 AND subject = $2
)
DELETE FROM subjects WHERE controller = $1 AND subject = $2;

-- undeclared --
-- Counts of deleted parts that no entry states yet, with the log that has to: the one they were deleted from, or the one
-- that took over from it.
WITH RECURSIVE heirs (log, heir) AS (
    SELECT l.log, l.log FROM logs l WHERE l.controller = $1
    UNION ALL
    SELECT h.log, n.log FROM heirs h JOIN logs n ON n.controller = $1 AND n.predecessor = h.heir
)
SELECT e.number, e.log, o.origin, h.heir, e.who, e.what, e.context, x.ground, x.subject
FROM erased_parts e
JOIN erasures x ON x.controller = e.controller AND x.number = e.number
JOIN logs o ON o.controller = e.controller AND o.log = e.log
JOIN heirs h ON h.log = e.log
JOIN logs n ON n.controller = e.controller AND n.log = h.heir AND n.closed_at IS NULL
WHERE e.controller = $1 AND e.declared_index IS NULL
ORDER BY e.number, e.log;

-- to_declare --
-- Controllers with deleted parts that no entry states yet, or with a successor log that has not begun.
SELECT DISTINCT e.controller FROM erased_parts e JOIN controllers c ON c.controller = e.controller
WHERE e.declared_index IS NULL AND c.erased_at IS NULL
UNION
SELECT l.controller FROM logs l JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.follows_size IS NOT NULL AND h.size = 0
ORDER BY 1;

-- declare --
-- This entry of this log states the counts.
UPDATE erased_parts SET declared_log = $4, declared_index = $5 WHERE controller = $1 AND number = $2 AND log = $3;

-- close_answered_dockets --
-- Everybody has answered and the person was told: what they held is gone.
UPDATE dockets d SET sealed = NULL, wrapped_key = NULL, key_epoch = NULL, closed_at = $3, outcome = 'answered'
WHERE d.controller = $1 AND d.docket = ANY ($2::bigint[]) AND d.closed_at IS NULL AND d.told_at IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM triggers t WHERE t.controller = d.controller AND t.docket = d.docket AND t.answered_at IS NULL);

-- close_dockets_at_limit --
-- Whoever has not answered by now: what the docket held is gone.
UPDATE dockets SET sealed = NULL, wrapped_key = NULL, key_epoch = NULL, closed_at = $1, outcome = 'limit'
WHERE limit_at <= $1 AND closed_at IS NULL;

-- expire_tombstones --
-- Names that no backup and no stream can bring back any more.
DELETE FROM tombstones WHERE expires_at <= $1;

-- controllers_with_due_proofs --
-- Controllers with minimal proofs whose time is up.
SELECT DISTINCT controller FROM minimal_proofs WHERE keep_until <= $1 ORDER BY controller;

-- end_minimal_proofs --
-- A controller's minimal proofs whose time is up, deleted: how many of each log.
WITH gone AS (
    DELETE FROM minimal_proofs WHERE controller = $1 AND keep_until <= $2 RETURNING log
)
SELECT log, count(*) AS what FROM gone GROUP BY log ORDER BY log;

-- controller --
-- A controller by its name.
SELECT controller, erased_at FROM controllers WHERE name = $1;

-- has_unopened_successor --
-- Whether a log that takes over from another has no head yet.
SELECT EXISTS (
    SELECT FROM logs l
    WHERE l.controller = $1 AND l.predecessor IS NOT NULL AND l.closed_at IS NULL
        AND NOT EXISTS (SELECT FROM log_heads h WHERE h.controller = l.controller AND h.log = l.log)
) AS is_there;

-- mark_controller --
-- The controller is erased: its keys end, its logs take no more records.
WITH sites AS (
    UPDATE site_keys SET revoked_at = now() WHERE controller = $1 AND revoked_at IS NULL
), readers AS (
    UPDATE access_keys SET revoked_at = now() WHERE controller = $1 AND revoked_at IS NULL
), ended AS (
    UPDATE logs SET closed_at = $2 WHERE controller = $1 AND closed_at IS NULL
)
UPDATE controllers SET erased_at = $2 WHERE controller = $1;

-- delete_controller --
-- The personal side of a whole controller.
WITH letters AS (
    DELETE FROM dead_letters WHERE controller = $1
), waiting AS (
    -- What a recorder has claimed, which waits for the heads that we hold, it will set aside and not keep.
    DELETE FROM inbox WHERE (controller, seq) IN (
        SELECT controller, seq FROM inbox WHERE controller = $1 FOR UPDATE SKIP LOCKED
    )
), proofs AS (
    DELETE FROM minimal_proofs WHERE controller = $1
), buried AS (
    DELETE FROM tombstones WHERE controller = $1
), asked AS (
    DELETE FROM requests WHERE controller = $1
), steps AS (
    DELETE FROM request_steps WHERE controller = $1
), state AS (
    DELETE FROM consent_state WHERE controller = $1
), linked AS (
    DELETE FROM links WHERE controller = $1
), accounts AS (
    DELETE FROM account_deletions WHERE controller = $1
), stated AS (
    DELETE FROM ages WHERE controller = $1
), names AS (
    DELETE FROM identifiers WHERE controller = $1
), parts AS (
    DELETE FROM payloads WHERE controller = $1
), held AS (
    DELETE FROM holds WHERE controller = $1
), stopped AS (
    DELETE FROM held_erasures WHERE controller = $1
), restricted AS (
    DELETE FROM restrictions WHERE controller = $1
), objected AS (
    DELETE FROM suppressed_objections WHERE controller = $1
), wanted AS (
    DELETE FROM erasure_asks WHERE controller = $1
), agreed AS (
    DELETE FROM approvals WHERE controller = $1
), exported AS (
    DELETE FROM exports WHERE controller = $1
), granted AS (
    DELETE FROM grants WHERE controller = $1
), signed_in AS (
    DELETE FROM sessions WHERE controller = $1
), colleagues AS (
    DELETE FROM people WHERE controller = $1
), events AS (
    UPDATE dedupe SET content = NULL, received_at = NULL WHERE controller = $1 AND content IS NOT NULL
), messages AS (
    DELETE FROM deliveries WHERE controller = $1
), told AS (
    DELETE FROM triggers WHERE controller = $1
), closed AS (
    UPDATE dockets SET sealed = NULL, wrapped_key = NULL, key_epoch = NULL, closed_at = $2, outcome = 'limit'
    WHERE controller = $1 AND closed_at IS NULL
)
DELETE FROM subjects WHERE controller = $1;

-- erased_controllers --
-- Names of erased controllers: their keys must be gone.
SELECT name FROM controllers WHERE erased_at IS NOT NULL ORDER BY name;

-- subjects_to_rewrap --
-- Living subjects whose key is wrapped under the key of one of these older epochs, in id order.
SELECT subject, wrapped_key, key_epoch FROM subjects
WHERE controller = $1 AND key_epoch = ANY ($2::integer[]) AND ($3::uuid IS NULL OR subject > $3)
ORDER BY subject LIMIT $4 FOR UPDATE SKIP LOCKED;

-- rewrap_subjects --
-- The same keys under the newer epoch's key.
UPDATE subjects s SET wrapped_key = n.wrapped_key, key_epoch = $2
FROM unnest($3::uuid[], $4::bytea[]) AS n (subject, wrapped_key)
WHERE s.controller = $1 AND s.subject = n.subject;

-- dockets_to_rewrap --
-- Open dockets whose key is wrapped under the key of one of these older epochs.
SELECT docket, wrapped_key, key_epoch FROM dockets
WHERE controller = $1 AND key_epoch = ANY ($2::integer[]) ORDER BY docket FOR UPDATE SKIP LOCKED;

-- rewrap_docket --
-- The same key under the newer epoch's key.
UPDATE dockets SET wrapped_key = $4, key_epoch = $2 WHERE controller = $1 AND docket = $3;

-- epochs_in_use --
-- The epochs whose keys still wrap something of a controller.
SELECT key_epoch FROM subjects WHERE controller = $1
UNION SELECT key_epoch FROM dockets WHERE controller = $1 AND key_epoch IS NOT NULL;

-- living_controllers --
-- Controllers with keys.
SELECT controller, name FROM controllers WHERE erased_at IS NULL ORDER BY controller;
