-- Statements of feeds. Like all of the ledger's they name the controller; it bypasses row-level security.

-- end_feeds --
-- Of systems that are told of records no more; one that is told again begins anew.
DELETE FROM feeds f WHERE NOT EXISTS (
    SELECT FROM downstreams d
    WHERE d.controller = f.controller AND d.system = f.system AND d.removed_at IS NULL AND 'records' = ANY (d.tells));

-- begin_feeds --
-- A system is told from now on; of a log that is opened later, from its beginning.
INSERT INTO feeds (controller, system, log, next_index)
SELECT d.controller, d.system, h.log, CASE WHEN l.created_at > d.added_at THEN 0 ELSE h.size END
FROM downstreams d
JOIN logs l ON l.controller = d.controller AND l.kind = 'consent'
JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE d.kind = 'webhook' AND d.removed_at IS NULL AND 'records' = ANY (d.tells) AND NOT EXISTS (
    SELECT FROM feeds f WHERE f.controller = d.controller AND f.system = d.system AND f.log = h.log)
ON CONFLICT DO NOTHING;

-- feeds_behind --
-- Which systems lack records of which logs, and how many messages of theirs are on their way still.
SELECT f.controller, c.name AS controller_name, f.system, f.log, l.name AS log_name, l.origin, h.size
FROM feeds f
JOIN log_heads h ON h.controller = f.controller AND h.log = f.log AND h.size > f.next_index
JOIN logs l ON l.controller = f.controller AND l.log = f.log
JOIN controllers c ON c.controller = f.controller AND c.erased_at IS NULL
WHERE (SELECT count(*) FROM deliveries v
       WHERE v.controller = f.controller AND v.system = f.system AND v.kind = 'records'
           AND v.delivered_at IS NULL AND v.dead_at IS NULL) < $1
ORDER BY f.controller, f.system, f.log;

-- lock_feed --
-- How far it is; no row while another ledger is at it.
SELECT next_index FROM feeds WHERE controller = $1 AND system = $2 AND log = $3 FOR UPDATE SKIP LOCKED;

-- fed_records --
-- A run of records, each with whose it is and what opens it; a log's stand-in is nobody.
SELECT r.index, r.entry, p.nonce, p.what, s.wrapped_key, s.key_epoch, CASE WHEN s.log IS NULL THEN s.subject END AS subject
FROM records r
LEFT JOIN payloads p ON p.controller = r.controller AND p.log = r.log AND p.index = r.index
LEFT JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE r.controller = $1 AND r.log = $2 AND r.index >= $3 AND r.index < $4
ORDER BY r.index;

-- state_versions --
-- A short hash of what stands for each of these subjects: it changes whenever that does. Nothing can be read from it.
SELECT subject, encode(substr(sha256(convert_to(string_agg(
    purpose || ' ' || legal_basis || ' ' || decision || ' ' || encode(event, 'hex'), E'\n' ORDER BY purpose, legal_basis),
    'UTF8')), 1, 8), 'hex') AS version
FROM consent_state WHERE controller = $1 AND subject = ANY ($2::uuid[])
GROUP BY subject;

-- move_feed --
-- From here on next time.
UPDATE feeds SET next_index = $4 WHERE controller = $1 AND system = $2 AND log = $3;
