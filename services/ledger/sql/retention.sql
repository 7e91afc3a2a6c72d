-- Statements of retention. Like all of the ledger's they name the controller; it bypasses row-level security.

-- project_deletion --
-- The latest deletion of an account and the latest restoring, whatever order they arrive in.
INSERT INTO account_deletions AS a (controller, subject, event, deleted_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (controller, subject) DO UPDATE SET event = excluded.event, deleted_at = excluded.deleted_at
WHERE a.deleted_at IS NULL OR (excluded.deleted_at, excluded.event) > (a.deleted_at, a.event);

-- project_restoring --
-- The same of a restoring.
INSERT INTO account_deletions AS a (controller, subject, restored_at) VALUES ($1, $2, $3)
ON CONFLICT (controller, subject) DO UPDATE SET restored_at = greatest(a.restored_at, excluded.restored_at);

-- controllers --
-- Who has something to retain by rule: rules, or a log of who looked.
SELECT c.controller, c.name FROM controllers c
WHERE c.erased_at IS NULL AND (
    EXISTS (SELECT FROM retention_rules r WHERE r.controller = c.controller)
    OR EXISTS (SELECT FROM logs l WHERE l.controller = c.controller AND l.kind = 'access'))
ORDER BY c.controller;

-- open_run --
-- A run of the ledger's own, unless there was one since $4. It goes on from the last of the same day under the same rules:
-- what was passed over then, for a hold or a law, is looked at again once a day.
INSERT INTO retention_runs (controller, run, asked_by, asked_at, as_of, since)
SELECT $1, $2, 'ledger', $3, $3, (
    SELECT max(r.as_of) FROM retention_runs r
    WHERE r.controller = $1 AND r.asked_by = 'ledger' AND r.finished_at IS NOT NULL
        AND (r.as_of AT TIME ZONE 'UTC')::date = ($3::timestamptz AT TIME ZONE 'UTC')::date
        AND NOT EXISTS (SELECT FROM retention_rules s WHERE s.controller = $1 AND s.stated_at > r.as_of)
        AND NOT EXISTS (SELECT FROM terms t WHERE t.controller = $1 AND t.stated_at > r.as_of))
WHERE NOT EXISTS (
    SELECT FROM retention_runs r
    WHERE r.controller = $1 AND r.asked_by = 'ledger' AND (r.asked_at > $4 OR r.finished_at IS NULL))
RETURNING run;

-- unfinished_runs --
-- What is to be done, the oldest first.
SELECT r.controller, c.name AS controller_name, r.run
FROM retention_runs r JOIN controllers c ON c.controller = r.controller
WHERE r.finished_at IS NULL AND c.erased_at IS NULL
ORDER BY r.asked_at, r.run;

-- claim_run --
-- One run, for one page of it: another ledger passes over it meanwhile.
SELECT as_of, since, is_preview, progress, counts, cleared FROM retention_runs
WHERE controller = $1 AND run = $2 AND finished_at IS NULL FOR UPDATE SKIP LOCKED;

-- move_run --
-- How far it is and what it did, in the transaction that did it.
UPDATE retention_runs SET progress = $3, counts = $4, cleared = $5 WHERE controller = $1 AND run = $2;

-- finish_run --
-- It is through.
UPDATE retention_runs SET finished_at = $3, progress = NULL WHERE controller = $1 AND run = $2;

-- forget_empty_runs --
-- Of the ledger's own runs that did nothing only the last is kept.
DELETE FROM retention_runs r
WHERE r.controller = $1 AND r.run <> $2 AND r.asked_by = 'ledger' AND r.finished_at IS NOT NULL AND r.counts IS NULL;

-- rules_as_of --
-- The rules in force at a moment; one that was ended has no content.
SELECT DISTINCT ON (rule) rule, content FROM retention_rules
WHERE controller = $1 AND stated_at <= $2 ORDER BY rule, stated_at DESC;

-- terms_as_of --
-- What the controller had stated by then.
SELECT content FROM terms WHERE controller = $1 AND stated_at <= $2 ORDER BY stated_at DESC LIMIT 1;

-- notices --
-- Every notice, under its own hash and under those that were matched to it.
SELECT notice AS shown, content FROM notices WHERE controller = $1
UNION
SELECT m.shown, n.content FROM notice_matches m JOIN notices n ON n.controller = m.controller AND n.notice = m.notice
WHERE m.controller = $1;

-- logs --
-- All logs of a controller, closed ones too, with the one that takes records in their place now.
WITH RECURSIVE heirs (log, heir) AS (
    SELECT log, log FROM logs WHERE controller = $1
    UNION ALL
    SELECT h.log, n.log FROM heirs h JOIN logs n ON n.controller = $1 AND n.predecessor = h.heir
)
SELECT l.log, l.name, l.origin, l.kind, h.heir, e.size
FROM heirs h
JOIN logs n ON n.controller = $1 AND n.log = h.heir AND n.closed_at IS NULL
JOIN logs l ON l.controller = $1 AND l.log = h.log
JOIN log_heads e ON e.controller = $1 AND e.log = l.log
ORDER BY l.log;

-- entry --
-- One entry.
SELECT entry FROM records WHERE controller = $1 AND log = $2 AND index = $3;

-- aged_places --
-- The next records of a stretch of a log that have one of these parts, and whose they are.
SELECT p.index, p.subject, s.log IS NOT NULL AS is_nobodys
FROM payloads p JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE p.controller = $1 AND p.log = $2 AND p.index >= $3 AND p.index < $4
    AND (($5 AND p.who IS NOT NULL) OR ($6 AND p.what IS NOT NULL) OR ($7 AND p.context IS NOT NULL))
ORDER BY p.index LIMIT $8;

-- decided_subjects --
-- The next subjects with a standing answer of one of these kinds that ranks in this time ($3 NULL: to any purpose).
SELECT DISTINCT subject FROM consent_state
WHERE controller = $1 AND ($2::uuid IS NULL OR subject > $2) AND ($3::text[] IS NULL OR purpose = ANY ($3::text[]))
    AND decision = ANY ($4::text[]) AND rank > $5 AND rank <= $6
ORDER BY subject LIMIT $7;

-- deleted_subjects --
-- The next subjects whose account was deleted in this time, and not restored since.
SELECT subject FROM account_deletions
WHERE controller = $1 AND ($2::uuid IS NULL OR subject > $2)
    AND deleted_at > $3 AND deleted_at <= $4 AND (restored_at IS NULL OR restored_at < deleted_at)
ORDER BY subject LIMIT $5;

-- lock_people --
-- These subjects, so that nobody records to them, holds them or erases them meanwhile; in id order, after the heads.
SELECT s.subject, s.wrapped_key, s.key_epoch, s.log, a.event, a.deleted_at
FROM subjects s
LEFT JOIN account_deletions a ON a.controller = s.controller AND a.subject = s.subject
    AND (a.restored_at IS NULL OR a.restored_at < a.deleted_at)
WHERE s.controller = $1 AND s.subject = ANY ($2::uuid[])
ORDER BY s.subject
FOR UPDATE OF s;

-- people --
-- The same without a lock, for a preview.
SELECT s.subject, s.wrapped_key, s.key_epoch, s.log, a.event, a.deleted_at
FROM subjects s
LEFT JOIN account_deletions a ON a.controller = s.controller AND a.subject = s.subject
    AND (a.restored_at IS NULL OR a.restored_at < a.deleted_at)
WHERE s.controller = $1 AND s.subject = ANY ($2::uuid[])
ORDER BY s.subject;

-- stopped --
-- Whose data nothing is deleted of for now: a request of theirs is open, or processing is restricted (Art. 18), which
-- allows keeping and nothing else.
SELECT subject FROM requests WHERE controller = $1 AND subject = ANY ($2::uuid[]) AND closed_at IS NULL
UNION
SELECT subject FROM restrictions WHERE controller = $1 AND subject = ANY ($2::uuid[]) AND lifted_at IS NULL;

-- has_open_triggers --
-- Whether a downstream system has not answered yet that has to find this person by their own records.
SELECT EXISTS (
    SELECT FROM triggers WHERE controller = $1 AND subject = $2 AND answered_at IS NULL
) AS are_there;

-- subject_rows --
-- Everything that is left of these subjects' records, but for those of who looked at them.
SELECT p.subject, p.log, p.index, l.origin, p.nonce, p.who, p.what, p.context
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = ANY ($2::uuid[]) AND l.kind = 'consent'
ORDER BY p.subject, p.log, p.index;

-- rows_at --
-- What is left of these records of one log.
SELECT p.subject, p.log, p.index, l.origin, p.nonce, p.who, p.what, p.context
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.log = $2 AND p.index = ANY ($3::bigint[])
ORDER BY p.index;

-- clear_parts --
-- Parts go, their digests stay.
SELECT clear_parts($1, $2, $3, $4, $5, $6);

-- forget_events --
-- Of an event whose `what` is gone only its name is left.
UPDATE dedupe SET content = NULL, received_at = NULL WHERE controller = $1 AND event = ANY ($2::bytea[]);

-- declare_for --
-- An entry of an open log states what was deleted of a closed one that it took over from.
INSERT INTO retained_parts (controller, log, who, what, context, declared_log, declared_index)
VALUES ($1, $2, $3, $4, $5, $6, $7);
