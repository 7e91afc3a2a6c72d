-- What a proof bundle needs beside the records' proofs. Every statement runs inside a controller's transaction.

-- bundle_event --
-- The record of an event by its dedupe name, with its parts, the key they open with and whose they are; of a look at
-- personal data only for whom the access log is ($3).
SELECT d.log AS log_number, l.name AS log, l.origin, d.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch,
       CASE WHEN s.log IS NULL THEN s.subject END AS subject
FROM dedupe d
JOIN logs l ON l.controller = d.controller AND l.log = d.log
JOIN records r ON r.controller = d.controller AND r.log = d.log AND r.index = d.index
JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE d.controller = $1 AND d.event = $2 AND (l.kind = 'consent' OR $3);

-- bundle_records --
-- One page of a subject's published records in the order of their places, after the place given.
SELECT p.log AS log_number, l.name AS log, l.origin, p.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch, s.subject
FROM payloads p
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject AND s.log IS NULL
JOIN logs l ON l.controller = p.controller AND l.log = p.log AND l.kind = 'consent'
JOIN log_heads h ON h.controller = p.controller AND h.log = p.log AND h.published_size > p.index
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
WHERE p.controller = $1 AND p.subject = $2 AND (p.log, p.index) > ($3, $4)
ORDER BY p.log, p.index
LIMIT $5;

-- declarations --
-- The records that declare what an erasure deleted, each once; with what it took along of linked subjects.
SELECT DISTINCT ON (e.declared_log, e.declared_index)
       e.declared_log AS log_number, l.name AS log, l.origin, r.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch, NULL::uuid AS subject
FROM erased_parts e
JOIN logs l ON l.controller = e.controller AND l.log = e.declared_log
JOIN records r ON r.controller = e.controller AND r.log = e.declared_log AND r.index = e.declared_index
JOIN payloads p ON p.controller = r.controller AND p.log = r.log AND p.index = r.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE e.controller = $1 AND e.number IN (
    SELECT o.number FROM erasures m JOIN erasures o ON o.controller = m.controller AND (o.number = m.number OR (
        o.event = m.event
        AND NOT EXISTS (SELECT FROM erasures n WHERE n.controller = $1 AND n.event = m.event AND n.number > m.number)))
    WHERE m.controller = $1 AND m.number = $2)
ORDER BY e.declared_log, e.declared_index;

-- covering_sizes --
-- The published size, the largest published size above a place that has a timestamp which verified, and whether the
-- ledger still owes one.
SELECT h.published_size AS published,
       (SELECT max(t.size) FROM timestamps t
        WHERE t.controller = $1 AND t.log = $2 AND t.size > $3 AND t.size <= h.published_size AND t.gen_time IS NOT NULL
       ) AS stamped,
       EXISTS (SELECT FROM timestamps t WHERE t.controller = $1 AND t.log = $2) AS has_authorities,
       EXISTS (SELECT FROM timestamp_wishes w WHERE w.controller = $1 AND w.log = $2) AS wished
FROM log_heads h
WHERE h.controller = $1 AND h.log = $2 AND h.published_size > $3;

-- wish_timestamp --
-- Ask the ledger to have a checkpoint timestamped.
INSERT INTO timestamp_wishes (controller, log, size) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- checkpoint_at --
-- A checkpoint as it was signed, and its cosignature lines.
SELECT c.note, coalesce((
        SELECT string_agg(x.line, '' ORDER BY x.witness, x.key_id) FROM cosignatures x
        WHERE x.controller = c.controller AND x.log = c.log AND x.size = c.size), '') AS cosignatures
FROM checkpoints c
WHERE c.controller = $1 AND c.log = $2 AND c.size = $3;

-- cosigners --
-- Who has cosigned a checkpoint, and when they say they did.
SELECT witness, cosigned_at FROM cosignatures WHERE controller = $1 AND log = $2 AND size = $3 ORDER BY witness;

-- timestamps_at --
-- The tokens over a checkpoint that verified, the earliest of each authority.
SELECT DISTINCT ON (authority) authority, response, nonce, gen_time
FROM timestamps
WHERE controller = $1 AND log = $2 AND size = $3 AND gen_time IS NOT NULL
ORDER BY authority, gen_time, seq;

-- bundle_controller --
-- Whose records they are.
SELECT name, legal_name, contact FROM controllers WHERE controller = $1;
