-- Statements of fsck. They only read, inside one snapshot, and walk by ranges of primary keys so that memory stays flat.

-- log --
-- One log with its head, as far as it has one.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin, l.vkey,
    h.size, h.root, h.prev, h.recorded_at, h.signed_size
FROM logs l
JOIN controllers c ON c.controller = l.controller
LEFT JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.controller = $1 AND l.log = $2;

-- ends --
-- Where records and level-0 tiles begin and end, each by itself.
SELECT
    (SELECT min(index) FROM records WHERE controller = $1 AND log = $2) AS first_record,
    (SELECT max(index) FROM records WHERE controller = $1 AND log = $2) AS last_record,
    t.tile AS last_tile, length(t.hashes) / 32 AS last_width
FROM (SELECT) AS one_row
LEFT JOIN LATERAL (
    SELECT tile, hashes FROM tiles WHERE controller = $1 AND log = $2 AND level = 0 ORDER BY tile DESC LIMIT 1
) t ON true;

-- tiles_outside --
-- Tiles that a tree with so many tiles on each level cannot have.
SELECT t.level, t.tile
FROM tiles t
LEFT JOIN unnest($3::smallint[], $4::bigint[]) AS expected (level, tiles) ON expected.level = t.level
WHERE t.controller = $1 AND t.log = $2 AND (t.tile < 0 OR t.tile >= coalesce(expected.tiles, 0))
ORDER BY t.level, t.tile;

-- checkpoints --
-- Published checkpoints whose size lies in (low, high].
SELECT size, root, note FROM checkpoints
WHERE controller = $1 AND log = $2 AND size > $3 AND size <= $4
ORDER BY size;

-- largest_checkpoint --
-- What the head's signed size must be.
SELECT max(size) AS size FROM checkpoints WHERE controller = $1 AND log = $2;

-- high_water_id --
-- The high-water directory this database says it belongs to.
SELECT high_water_id FROM deployment;

-- payloads --
-- The payloads of a run of records.
SELECT index, subject, nonce, who, what, context, who_digest, what_digest, context_digest
FROM payloads
WHERE controller = $1 AND log = $2 AND index >= $3 AND index < $4;

-- payloads_outside --
-- Payloads that no record of a log of this size can have.
SELECT index FROM payloads WHERE controller = $1 AND log = $2 AND (index < 0 OR index >= $3) ORDER BY index;

-- subject_keys --
-- The keys of these subjects.
SELECT subject, wrapped_key, key_epoch FROM subjects WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- dedupe_of --
-- Where the dedupe says these events are.
SELECT event, log, index, content IS NULL AS is_erased, received_at
FROM dedupe
WHERE controller = $1 AND event = ANY ($2::bytea[]);

-- dedupe_disagrees --
-- Records that the dedupe does not name exactly once, and places it names that hold no record.
SELECT index, r.index IS NULL AS no_record, coalesce(d.names, 0) AS names
FROM (SELECT index FROM records WHERE controller = $1 AND log = $2) r
FULL JOIN (SELECT index, count(*) AS names FROM dedupe WHERE controller = $1 AND log = $2 GROUP BY index) d USING (index)
WHERE r.index IS NULL OR d.names IS DISTINCT FROM 1
ORDER BY index;

-- sites --
-- The sites of one controller.
SELECT name FROM sites WHERE controller = $1;

-- notices --
-- Every published notice of one controller.
SELECT n.notice, s.name AS site, n.language, n.content
FROM notices n JOIN sites s ON s.controller = n.controller AND s.site = n.site
WHERE n.controller = $1
ORDER BY n.notice, s.name;

-- notice_matches --
-- Every hash that stands for a published notice, and whether that notice is there.
SELECT m.shown, EXISTS (SELECT FROM notices n WHERE n.controller = m.controller AND n.notice = m.notice) AS is_published
FROM notice_matches m
WHERE m.controller = $1
ORDER BY m.shown;

-- count_subjects --
-- How long the walk over the state will be.
SELECT count(*) AS subjects FROM subjects WHERE controller = $1;

-- subject_page --
-- The next subjects in id order; the stand-ins of logs have a log.
SELECT subject, wrapped_key, key_epoch, log FROM subjects
WHERE controller = $1 AND ($2::uuid IS NULL OR subject > $2)
ORDER BY subject LIMIT $3;

-- subject_parts --
-- What the records of these subjects say about state and identifiers.
SELECT p.subject, p.index, p.nonce, p.who, p.what, l.origin
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = ANY ($2::uuid[]);

-- state_of --
-- The projected state of these subjects.
SELECT subject, purpose, legal_basis, decision, rank, event
FROM consent_state
WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- identifiers_of --
-- The identifier names of these subjects.
SELECT subject, identifier FROM identifiers WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- stray_state --
-- State of subjects that do not exist.
SELECT DISTINCT s.subject FROM consent_state s
WHERE s.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = s.controller AND x.subject = s.subject)
ORDER BY s.subject;

-- stray_identifiers --
-- Identifier names of subjects that do not exist.
SELECT DISTINCT i.subject FROM identifiers i
WHERE i.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = i.controller AND x.subject = i.subject)
ORDER BY i.subject;
