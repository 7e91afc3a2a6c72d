-- Statements about cosignatures. They run as sayso_ledger, which bypasses row-level security: every statement names the
-- controller. Witnesses are given as two arrays, names in the signature line and key ids; nth counts from 1.

-- uncosigned_logs --
-- Logs whose last checkpoint at least one of these witnesses has not cosigned, and which of them have.
SELECT h.controller, h.log, l.name, l.origin, h.signed_size AS size, done.cosigned
FROM log_heads h
JOIN logs l ON l.controller = h.controller AND l.log = h.log
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(w.nth), '{}') AS cosigned
    FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS w (witness, key_id, nth)
    JOIN cosignatures x ON x.controller = h.controller AND x.log = h.log AND x.size = h.signed_size
        AND x.witness = w.witness AND x.key_id = w.key_id
) done
WHERE h.signed_size IS NOT NULL AND cardinality(done.cosigned) < cardinality($1::text[])
ORDER BY h.controller, h.log;

-- submission --
-- One checkpoint as it is sent, and whether this witness has cosigned it already.
SELECT c.note, c.signed_at, EXISTS (
    SELECT FROM cosignatures x WHERE x.controller = $1 AND x.log = $2 AND x.size = $3 AND x.witness = $4 AND x.key_id = $5
) AS cosigned
FROM checkpoints c WHERE c.controller = $1 AND c.log = $2 AND c.size = $3;

-- cosigned_size --
-- The largest size of a log that this witness has cosigned.
SELECT size FROM cosignatures WHERE controller = $1 AND log = $2 AND witness = $3 AND key_id = $4
ORDER BY size DESC LIMIT 1;

-- add_cosignature --
-- Keep a cosignature that was verified; the first one of a witness for a checkpoint stays.
INSERT INTO cosignatures (controller, log, size, witness, key_id, line, cosigned_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING;

-- cosigners --
-- Which of these witnesses have cosigned one checkpoint.
SELECT w.nth
FROM unnest($4::text[], $5::bytea[]) WITH ORDINALITY AS w (witness, key_id, nth)
JOIN cosignatures x ON x.controller = $1 AND x.log = $2 AND x.size = $3
    AND x.witness = w.witness AND x.key_id = w.key_id;

-- held_logs --
-- Logs whose last checkpoint is not shown yet.
SELECT h.controller, h.log, l.origin, h.signed_size AS size
FROM log_heads h JOIN logs l ON l.controller = h.controller AND l.log = h.log
WHERE h.published_size IS DISTINCT FROM h.signed_size;

-- held_sizes --
-- The cosigned checkpoints of one log that are larger than the one shown, the largest first, and who cosigned them.
SELECT x.size, array_agg(w.nth) AS cosigned
FROM log_heads h
JOIN cosignatures x ON x.controller = h.controller AND x.log = h.log AND x.size > coalesce(h.published_size, -1)
JOIN unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS w (witness, key_id, nth)
    ON x.witness = w.witness AND x.key_id = w.key_id
WHERE h.controller = $1 AND h.log = $2
GROUP BY x.size
ORDER BY x.size DESC;
