-- What query asks about erasures. Every statement runs inside a controller's transaction, and names it for the index.

-- site_of_subject --
-- Where an event about a subject goes: a site of the log of its last record, or of another that takes records.
SELECT s.name AS site, l.name AS log
FROM sites s
JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
ORDER BY s.log IS DISTINCT FROM (
        SELECT p.log FROM payloads p JOIN logs r ON r.controller = p.controller AND r.log = p.log
        WHERE p.controller = $1 AND p.subject = $2 AND r.kind = 'consent' ORDER BY p.log DESC, p.index DESC LIMIT 1
    ), s.site
LIMIT 1;

-- site_of_erasure --
-- Where an event about an erasure goes: a site of a log that declared it, or of another that takes records.
SELECT s.name AS site, l.name AS log
FROM sites s
JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
ORDER BY s.log IS DISTINCT FROM (
        SELECT e.declared_log FROM erased_parts e WHERE e.controller = $1 AND e.number = $2 ORDER BY e.log LIMIT 1
    ), s.site
LIMIT 1;

-- erasure_of_event --
-- The erasure that an event asked for, by the event's dedupe name: the last, behind those of subjects linked to it.
SELECT number, event, subject, ground, erased_at, applied_at
FROM erasures WHERE controller = $1 AND event = $2 ORDER BY number DESC LIMIT 1;

-- erasure_of_subject --
-- The erasure of a subject; the first, should there ever be two.
SELECT number, event, subject, ground, erased_at, applied_at
FROM erasures WHERE controller = $1 AND subject = $2 ORDER BY number LIMIT 1;

-- erased_logs --
-- What an erasure deleted, log by log, and the entry that declares it; with what it took along of linked subjects.
SELECT l.name AS log, l.origin, e.who, e.what, e.context, e.declared_log, d.name AS declared_name,
       d.origin AS declared_origin, d.vkey AS declared_vkey, e.declared_index
FROM erased_parts e
JOIN logs l ON l.controller = e.controller AND l.log = e.log
LEFT JOIN logs d ON d.controller = e.controller AND d.log = e.declared_log
WHERE e.controller = $1 AND e.number IN (
    SELECT o.number FROM erasures m JOIN erasures o ON o.controller = m.controller AND (o.number = m.number OR (
        o.event = m.event
        AND NOT EXISTS (SELECT FROM erasures n WHERE n.controller = $1 AND n.event = m.event AND n.number > m.number)))
    WHERE m.controller = $1 AND m.number = $2)
ORDER BY e.log, e.number;

-- docket --
-- What is said of a docket; never what is in it.
SELECT docket, opened_at, limit_at, closed_at, outcome FROM dockets WHERE controller = $1 AND docket = $2;

-- kept --
-- The minimal proofs that an erasure left and that are still there, of linked subjects too.
SELECT e.ground, e.keep_until, count(*) AS proofs
FROM minimal_proofs e
WHERE e.controller = $1 AND e.number IN (
    SELECT o.number FROM erasures m JOIN erasures o ON o.controller = m.controller AND (o.number = m.number OR (
        o.event = m.event
        AND NOT EXISTS (SELECT FROM erasures n WHERE n.controller = $1 AND n.event = m.event AND n.number > m.number)))
    WHERE m.controller = $1 AND m.number = $2)
GROUP BY e.ground, e.keep_until ORDER BY e.keep_until, e.ground;

-- held_erasure --
-- The hold that stopped an erasure, and whether it stands still.
SELECT e.held_at, h.expires_at, coalesce(h.released_at IS NULL AND h.expires_at > now(), false) AS stands
FROM held_erasures e LEFT JOIN holds h ON h.controller = e.controller AND h.hold = e.hold
WHERE e.controller = $1 AND e.event = $2;

-- fate --
-- What became of an event that led to no erasure: set aside with a reason, or passed.
SELECT (SELECT d.reason FROM dead_letters d WHERE d.controller = $1 AND d.event = $2 ORDER BY d.letter LIMIT 1) AS reason,
       EXISTS (SELECT FROM dedupe e WHERE e.controller = $1 AND e.event = $2) AS passed;

-- record_at --
-- A record by its place, with its parts and the key they open with.
SELECT l.origin, l.vkey, r.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch
FROM records r
JOIN logs l ON l.controller = r.controller AND l.log = r.log
JOIN payloads p ON p.controller = r.controller AND p.log = r.log AND p.index = r.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE r.controller = $1 AND r.log = $2 AND r.index = $3;

-- owner --
-- What a certificate says of the controller.
SELECT name, legal_name, contact FROM controllers WHERE controller = $1;

-- minimal_proofs_exist --
-- Whether the controller keeps any; before that there is no key to look up with.
SELECT EXISTS (SELECT FROM minimal_proofs WHERE controller = $1);

-- minimal_proofs_of --
-- The minimal proofs kept under an identifier's name that have not ended.
SELECT l.name AS log, m.index, m.number, m.ground, m.keep_until, m.asked_by, m.reason, m.released_by, m.released_at
FROM minimal_proofs m
JOIN logs l ON l.controller = m.controller AND l.log = m.log
WHERE m.controller = $1 AND m.identifier = $2 AND m.keep_until > now()
ORDER BY m.log, m.index;

-- lock_minimal_proof --
-- One minimal proof with the public side of its record, locked so that of two requests one comes first.
SELECT m.log AS log_number, l.origin, l.vkey, m.index, r.entry, m.nonce, m.what, m.who_digest, m.context_digest,
       m.asked_by, m.released_by
FROM minimal_proofs m
JOIN logs l ON l.controller = m.controller AND l.log = m.log
JOIN records r ON r.controller = m.controller AND r.log = m.log AND r.index = m.index
WHERE m.controller = $1 AND l.name = $2 AND m.index = $3 AND m.keep_until > now()
FOR UPDATE OF m;

-- ask_for_release --
-- The first of two people, with the reason.
UPDATE minimal_proofs SET asked_by = $4, reason = $5
WHERE controller = $1 AND log = $2 AND index = $3 AND asked_by IS NULL;

-- release --
-- The second of two people.
UPDATE minimal_proofs SET released_by = $4, released_at = now()
WHERE controller = $1 AND log = $2 AND index = $3 AND asked_by <> $4 AND released_by IS NULL;
