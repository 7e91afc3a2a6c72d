-- Statements of fsck. They only read, inside one snapshot, and walk by ranges of primary keys so that memory stays flat.

-- log --
-- One log with its head, as far as it has one.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin, l.vkey, l.closed_at, l.follows_size,
    l.follows_root,
    (SELECT p.origin FROM logs p WHERE p.controller = l.controller AND p.log = l.predecessor) AS follows_origin,
    h.size, h.root, h.prev, h.recorded_at, h.signed_size, h.published_size
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

-- chunk --
-- A run of entries joined by newlines, with the level-0 tiles and the checkpoints in it, as one row: fsck reads a whole
-- log this way, and a row an entry costs more than hashing it.
SELECT r.records, r.first, r.last, r.lines, t.numbers, t.hashes, c.sizes, c.roots, c.notes
FROM (
    SELECT count(*) AS records, min(index) AS first, max(index) AS last,
        string_agg(entry, '\x0a'::bytea ORDER BY index) AS lines
    FROM records WHERE controller = $1 AND log = $2 AND index >= $3 AND index < $4
) r, (
    SELECT array_agg(tile ORDER BY tile) AS numbers, array_agg(hashes ORDER BY tile) AS hashes
    FROM tiles WHERE controller = $1 AND log = $2 AND level = 0 AND tile >= $5 AND tile < $6
) t, (
    SELECT array_agg(size ORDER BY size) AS sizes, array_agg(root ORDER BY size) AS roots,
        array_agg(note ORDER BY size) AS notes
    FROM checkpoints WHERE controller = $1 AND log = $2 AND size > $3 AND size <= $4
) c;

-- checkpoints --
-- Checkpoints whose size lies in (low, high].
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
FULL JOIN (
    SELECT index, count(*) AS names FROM dedupe WHERE controller = $1 AND log = $2 AND index IS NOT NULL GROUP BY index
) d USING (index)
WHERE r.index IS NULL OR d.names IS DISTINCT FROM 1
ORDER BY index;

-- dedupe_remembers --
-- Events that the dedupe knows more or less of than it may: of a dropped one its name alone, of a recorded one either
-- content and time, or, once the payload is gone, neither.
SELECT d.event, d.index, d.content IS NOT NULL AS has_content, d.received_at IS NOT NULL AS has_time
FROM dedupe d
WHERE d.controller = $1 AND d.log = $2
    AND ((d.content IS NULL) <> (d.received_at IS NULL)
        OR d.content IS NOT NULL AND (d.index IS NULL OR NOT EXISTS (
            SELECT FROM payloads p WHERE p.controller = d.controller AND p.log = d.log AND p.index = d.index)))
ORDER BY d.index, d.event;

-- stated_parts --
-- Which entries of this log are said to state which deleted parts, of whatever log.
SELECT declared_index AS index, sum(who)::bigint AS who, sum(what)::bigint AS what, sum(context)::bigint AS context,
    array_agg(number) AS numbers
FROM (
    SELECT declared_index, who, what, context, number FROM erased_parts WHERE controller = $1 AND declared_log = $2
    UNION ALL
    SELECT declared_index, who, what, context, NULL FROM retained_parts WHERE controller = $1 AND declared_log = $2
) stated
GROUP BY declared_index;

-- erased_parts --
-- How many parts of this log erasures have deleted, and retention since the log was closed.
SELECT number, who, what, context, declared_log, declared_index FROM erased_parts
WHERE controller = $1 AND log = $2
UNION ALL
SELECT NULL, who, what, context, declared_log, declared_index FROM retained_parts
WHERE controller = $1 AND log = $2
ORDER BY number;

-- minimal_proofs --
-- What rules have kept of a run of records.
SELECT index, nonce, what, who_digest, context_digest,
    EXISTS (SELECT FROM erasures e WHERE e.controller = m.controller AND e.number = m.number) AS has_erasure
FROM minimal_proofs m
WHERE controller = $1 AND log = $2 AND index >= $3 AND index < $4;

-- minimal_proofs_outside --
-- Minimal proofs that no record of a log of this size can have.
SELECT index FROM minimal_proofs WHERE controller = $1 AND log = $2 AND (index < 0 OR index >= $3) ORDER BY index;

-- payload_basis --
-- What, besides the records, the payloads of a controller's logs are checked against.
SELECT (SELECT max(number) FROM erasures WHERE controller = $1) AS erasures,
    (SELECT count(*) FROM minimal_proofs WHERE controller = $1) AS minimal_proofs,
    (SELECT sum(cleared)::bigint FROM retention_runs WHERE controller = $1) AS cleared,
    (SELECT count(*) FROM erased_parts WHERE controller = $1 AND declared_index IS NULL) AS undeclared,
    (SELECT count(*) FROM sites WHERE controller = $1) AS sites;

-- erased_and_there --
-- Subjects that were erased and of whom something is still there, and in which tables.
SELECT e.number, e.subject, t.found_in
FROM erasures e
CROSS JOIN LATERAL (
    SELECT 'subjects' WHERE EXISTS (SELECT FROM subjects x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'identifiers' WHERE EXISTS (SELECT FROM identifiers x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'payloads' WHERE EXISTS (SELECT FROM payloads x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'consent_state' WHERE EXISTS (SELECT FROM consent_state x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'account_deletions' WHERE EXISTS (
        SELECT FROM account_deletions x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'ages' WHERE EXISTS (SELECT FROM ages x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'holds' WHERE EXISTS (SELECT FROM holds x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'requests' WHERE EXISTS (SELECT FROM requests x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'restrictions' WHERE EXISTS (SELECT FROM restrictions x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'triggers' WHERE EXISTS (SELECT FROM triggers x WHERE x.controller = $1 AND x.subject = e.subject)
    UNION ALL SELECT 'links' WHERE EXISTS (
        SELECT FROM links x WHERE x.controller = $1 AND (x.strong = e.subject OR x.weak = e.subject))
) AS t (found_in)
WHERE e.controller = $1 AND e.subject IS NOT NULL
ORDER BY e.number, t.found_in;

-- controller --
-- When a controller was erased; NULL while it lives.
SELECT erased_at FROM controllers WHERE controller = $1;

-- rows_of_an_erased_controller --
-- What of an erased controller is still there.
SELECT t.found_in FROM (
    SELECT 'subjects' WHERE EXISTS (SELECT FROM subjects WHERE controller = $1 AND log IS NULL)
    UNION ALL SELECT 'identifiers' WHERE EXISTS (SELECT FROM identifiers WHERE controller = $1)
    UNION ALL SELECT 'consent_state' WHERE EXISTS (SELECT FROM consent_state WHERE controller = $1)
    UNION ALL SELECT 'minimal_proofs' WHERE EXISTS (SELECT FROM minimal_proofs WHERE controller = $1)
    UNION ALL SELECT 'tombstones' WHERE EXISTS (SELECT FROM tombstones WHERE controller = $1)
    UNION ALL SELECT 'links' WHERE EXISTS (SELECT FROM links WHERE controller = $1)
    UNION ALL SELECT 'account_deletions' WHERE EXISTS (SELECT FROM account_deletions WHERE controller = $1)
    UNION ALL SELECT 'ages' WHERE EXISTS (SELECT FROM ages WHERE controller = $1)
    UNION ALL SELECT 'approvals' WHERE EXISTS (SELECT FROM approvals WHERE controller = $1)
    UNION ALL SELECT 'deliveries' WHERE EXISTS (SELECT FROM deliveries WHERE controller = $1)
    UNION ALL SELECT 'erasure_asks' WHERE EXISTS (SELECT FROM erasure_asks WHERE controller = $1)
    UNION ALL SELECT 'exports' WHERE EXISTS (SELECT FROM exports WHERE controller = $1)
    UNION ALL SELECT 'held_erasures' WHERE EXISTS (SELECT FROM held_erasures WHERE controller = $1)
    UNION ALL SELECT 'holds' WHERE EXISTS (SELECT FROM holds WHERE controller = $1)
    UNION ALL SELECT 'request_steps' WHERE EXISTS (SELECT FROM request_steps WHERE controller = $1)
    UNION ALL SELECT 'requests' WHERE EXISTS (SELECT FROM requests WHERE controller = $1)
    UNION ALL SELECT 'restrictions' WHERE EXISTS (SELECT FROM restrictions WHERE controller = $1)
    UNION ALL SELECT 'suppressed_objections' WHERE EXISTS (SELECT FROM suppressed_objections WHERE controller = $1)
    UNION ALL SELECT 'triggers' WHERE EXISTS (SELECT FROM triggers WHERE controller = $1)
) AS t (found_in)
ORDER BY t.found_in;

-- erasures_without --
-- Rows that name an erasure which is not there.
SELECT 'erased_parts' AS found_in, p.number FROM erased_parts p
WHERE p.controller = $1 AND NOT EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.number = p.number)
UNION
SELECT 'dockets', d.docket FROM dockets d
WHERE d.controller = $1 AND NOT EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.number = d.docket)
UNION
SELECT 'requests', q.docket FROM requests q
WHERE q.controller = $1 AND q.docket IS NOT NULL
    AND NOT EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.number = q.docket)
UNION
SELECT 'triggers', t.docket FROM triggers t
WHERE t.controller = $1 AND t.docket IS NOT NULL
    AND NOT EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.number = t.docket)
ORDER BY 1, 2;

-- dockets --
-- Dockets that are open.
SELECT docket, sealed, wrapped_key, key_epoch FROM dockets
WHERE controller = $1 AND closed_at IS NULL
ORDER BY docket;

-- of_nobody --
-- Rows about subjects that do not exist and were not erased either.
SELECT DISTINCT t.found_in, t.subject
FROM (
    SELECT 'account_deletions' AS found_in, subject FROM account_deletions WHERE controller = $1
    UNION ALL SELECT 'ages', subject FROM ages WHERE controller = $1
    UNION ALL SELECT 'erasure_asks', subject FROM erasure_asks WHERE controller = $1
    UNION ALL SELECT 'holds', subject FROM holds WHERE controller = $1
    UNION ALL SELECT 'requests', subject FROM requests WHERE controller = $1
    UNION ALL SELECT 'restrictions', subject FROM restrictions WHERE controller = $1
    UNION ALL SELECT 'triggers', subject FROM triggers WHERE controller = $1
) t
WHERE t.subject IS NOT NULL
    AND NOT EXISTS (SELECT FROM subjects s WHERE s.controller = $1 AND s.subject = t.subject AND s.log IS NULL)
    AND NOT EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.subject = t.subject)
ORDER BY t.found_in, t.subject;

-- triggers_odd --
-- Triggers that were answered and keep what finds the person, and open ones of a docket that all had answered. One that
-- was closed at its limit may have open ones for a moment: they are overdue, and somebody is about to say so.
SELECT t.trigger, t.answered_at IS NOT NULL AS is_answered
FROM triggers t LEFT JOIN dockets d ON d.controller = t.controller AND d.docket = t.docket
WHERE t.controller = $1 AND (
    (t.answered_at IS NOT NULL AND t.sealed IS NOT NULL) OR (t.answered_at IS NULL AND d.outcome = 'answered'))
ORDER BY t.trigger;

-- tombstones_odd --
-- Tombstones that end before they begin.
SELECT identifier FROM tombstones WHERE controller = $1 AND expires_at <= erased_at ORDER BY identifier;

-- buried --
-- Of these subjects, who has an identifier with a tombstone, and until when acts of it count for nothing.
SELECT i.subject, max(t.erased_at) AS erased_at
FROM identifiers i JOIN tombstones t ON t.controller = i.controller AND t.identifier = i.identifier
WHERE i.controller = $1 AND i.subject = ANY ($2::uuid[])
GROUP BY i.subject;

-- log_keys --
-- The signing keys that a log has had, in order.
SELECT number, vkey, reference, statement, made_at, ends_at FROM log_keys
WHERE controller = $1 AND log = $2
ORDER BY number;

-- cosignatures --
-- Every cosignature of one log with the note it is under.
SELECT c.size, c.witness, c.key_id, c.line, c.cosigned_at, p.note
FROM cosignatures c
LEFT JOIN checkpoints p ON p.controller = c.controller AND p.log = c.log AND p.size = c.size
WHERE c.controller = $1 AND c.log = $2
ORDER BY c.size, c.witness, c.key_id;

-- timestamps --
-- Every timestamp of one log with the note it is over.
SELECT t.size, t.seq, t.authority, t.response, t.nonce, t.gen_time, t.verified_by, p.note
FROM timestamps t
LEFT JOIN checkpoints p ON p.controller = t.controller AND p.log = t.log AND p.size = t.size
WHERE t.controller = $1 AND t.log = $2
ORDER BY t.size, t.seq;

-- wishes_for_nothing --
-- Wishes for a timestamp over a checkpoint that is not there.
SELECT w.size FROM timestamp_wishes w
WHERE w.controller = $1 AND w.log = $2
    AND NOT EXISTS (SELECT FROM checkpoints p WHERE p.controller = w.controller AND p.log = w.log AND p.size = w.size)
ORDER BY w.size;

-- evidence_basis --
-- How much there is from outside about one log.
SELECT (SELECT count(*) FROM log_keys WHERE controller = $1 AND log = $2) AS keys,
    (SELECT count(*) FROM cosignatures WHERE controller = $1 AND log = $2) AS cosignatures,
    (SELECT count(*) FROM timestamps WHERE controller = $1 AND log = $2) AS timestamps;

-- heads_of --
-- The heads of a controller's logs.
SELECT log, size, root FROM log_heads WHERE controller = $1 ORDER BY log;

-- positions --
-- Where the ledger goes on reading each partition of a topic.
SELECT topic, partition, cluster, next_offset FROM positions ORDER BY topic, partition;

-- erasure_numbers --
-- The erasures that this database knows, with the names of their controllers.
SELECT c.name AS controller, e.number, e.subject, e.event, e.ground, e.erased_at
FROM erasures e JOIN controllers c ON c.controller = e.controller
ORDER BY e.number;

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

-- ages_of --
-- What is kept of these subjects' ages.
SELECT subject, event, is_over, stated_at FROM ages WHERE controller = $1 AND subject = ANY ($2::uuid[]);

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

-- links_of --
-- What is projected of links to these stronger subjects.
SELECT event, nth, strong, weak, state, acted_at FROM links WHERE controller = $1 AND strong = ANY ($2::uuid[]);

-- linked_weak --
-- Which of these subjects somebody's records link: a record of their own they need not have.
SELECT DISTINCT weak FROM links WHERE controller = $1 AND weak = ANY ($2::uuid[]);

-- has_erased --
-- Whether any subject was erased.
SELECT EXISTS (SELECT FROM erasures WHERE controller = $1 AND subject IS NOT NULL) AS has_erased;

-- stray_links --
-- Links to stronger subjects that do not exist.
SELECT DISTINCT l.strong FROM links l
WHERE l.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = l.controller AND x.subject = l.strong)
ORDER BY l.strong;
