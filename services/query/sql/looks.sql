-- The access log: who looked at personal data. Every statement runs inside a controller's transaction.

-- access_place --
-- Where access records go: the log for them that takes records, and the place that they are posted from.
SELECT s.name AS site, l.name AS log
FROM logs l JOIN sites s ON s.controller = l.controller AND s.log = l.log
WHERE l.controller = $1 AND l.kind = 'access' AND l.closed_at IS NULL
ORDER BY s.site LIMIT 1;

-- person_of_event --
-- Whose record an event became; none of a log's stand-in, nor of somebody whom the wall hides.
SELECT s.subject
FROM dedupe d
JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject AND s.log IS NULL
WHERE d.controller = $1 AND d.event = $2;

-- looks_at --
-- One page of the looks at a subject in the order of their places, after the place given.
SELECT p.log AS log_number, l.origin, p.index, p.nonce, p.what
FROM payloads p
JOIN logs l ON l.controller = p.controller AND l.log = p.log AND l.kind = 'access'
WHERE p.controller = $1 AND p.subject = $2 AND p.what IS NOT NULL AND (p.log, p.index) > ($3, $4)
ORDER BY p.log, p.index
LIMIT $5;

-- access_records --
-- One page of the access log in the order of its places, after the place given; of who was erased the entry is left.
SELECT r.log AS log_number, l.name AS log, l.origin, r.index, r.entry, p.nonce, p.who, p.what, s.wrapped_key, s.key_epoch,
       CASE WHEN s.log IS NULL THEN s.subject END AS subject
FROM logs l
JOIN records r ON r.controller = l.controller AND r.log = l.log
LEFT JOIN payloads p ON p.controller = r.controller AND p.log = r.log AND p.index = r.index
LEFT JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE l.controller = $1 AND l.kind = 'access' AND (r.log, r.index) > ($2, $3)
ORDER BY r.log, r.index
LIMIT $4;
