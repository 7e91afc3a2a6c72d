-- Statements of rebuild beside the ledger's own.

-- count_subjects_to_project --
-- How long the walk will be.
SELECT count(*) AS subjects FROM subjects WHERE controller = $1;

-- clear_strays --
-- State that belongs to no person: a subject that is gone, or a log's stand-in.
DELETE FROM consent_state s
WHERE s.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = s.controller AND x.subject = s.subject AND x.log IS NULL);

-- clear_stray_links --
-- The same for links.
DELETE FROM links l
WHERE l.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = l.controller AND x.subject = l.strong AND x.log IS NULL);

-- clear_requests --
-- Requests of the living, and of nobody known; those of the erased have lost their records and stay as they are.
WITH gone AS (
    DELETE FROM requests WHERE controller = $1 AND docket IS NULL RETURNING request
)
DELETE FROM request_steps WHERE controller = $1 AND request IN (SELECT request FROM gone);

-- clear_holds --
-- Holds, and what they stopped.
WITH stopped AS (
    DELETE FROM held_erasures WHERE controller = $1
)
DELETE FROM holds WHERE controller = $1;

-- clear_restrictions --
-- Restrictions of processing.
DELETE FROM restrictions WHERE controller = $1;

-- clear_accounts --
-- Deletions and restorings of accounts.
DELETE FROM account_deletions WHERE controller = $1;

-- acting_records --
-- Every record that may have changed one of these, in the order in which they were recorded: in one log that of their
-- places, between logs to the minute. The class stands in the public entry, where no text of anybody's does.
SELECT p.log, l.name AS log_name, l.origin, p.index, p.nonce, p.who, p.what, p.context, p.subject,
    s.wrapped_key, s.key_epoch, s.log IS NOT NULL AS is_nobodys, d.received_at
FROM payloads p
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
JOIN logs l ON l.controller = p.controller AND l.log = p.log AND l.kind = 'consent'
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
JOIN dedupe d ON d.controller = p.controller AND d.log = p.log AND d.index = p.index
WHERE p.controller = $1 AND p.what IS NOT NULL AND d.received_at IS NOT NULL
    AND (position('"class":"request"'::bytea IN r.entry) > 0 OR position('"class":"system"'::bytea IN r.entry) > 0)
ORDER BY convert_from(r.entry, 'UTF8')::jsonb ->> 'recorded_at', p.log, p.index;
