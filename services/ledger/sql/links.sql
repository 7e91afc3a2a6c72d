-- Statements of links. Like all of the ledger's they name the controller; it bypasses row-level security.

-- write_links --
-- Acts that link a weaker subject to a stronger one, or end that.
INSERT INTO links (controller, event, nth, strong, weak, state, acted_at)
SELECT $1, event, nth, strong, weak, state, acted_at
FROM unnest($2::bytea[], $3::smallint[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[])
    AS new (event, nth, strong, weak, state, acted_at);

-- void_links --
-- Acts of this stronger subject whose weaker one was erased: they stay void, whoever uses that identifier later.
SELECT event, nth FROM links WHERE controller = $1 AND strong = $2 AND weak IS NULL;

-- clear_links --
-- Forget what is projected of one stronger subject, to project it again; but for events that can be read no more.
DELETE FROM links WHERE controller = $1 AND strong = $2 AND event <> ALL ($3::bytea[]);

-- who_parts --
-- The part `who` of these records.
SELECT log, index, who FROM payloads
WHERE controller = $1 AND (log, index) IN (SELECT * FROM unnest($2::integer[], $3::bigint[]));

-- named_subjects --
-- Whom these identifier names lead to, and until when acts of theirs count for nothing.
SELECT i.identifier, i.subject, t.erased_at
FROM identifiers i LEFT JOIN tombstones t ON t.controller = i.controller AND t.identifier = i.identifier
WHERE i.controller = $1 AND i.identifier = ANY ($2::bytea[]);

-- linked_only_to --
-- Who is erased with this subject: weaker ones that were never linked to another, and those of whom nothing would be
-- left but a name.
SELECT s.subject FROM subjects s
WHERE s.controller = $1
    AND s.subject IN (SELECT l.weak FROM links l WHERE l.controller = $1 AND l.strong = $2)
    AND NOT EXISTS (
        SELECT FROM links o
        WHERE o.controller = $1 AND o.weak = s.subject AND o.strong <> $2 AND o.state = 'linked')
    AND (
        NOT EXISTS (SELECT FROM payloads p WHERE p.controller = $1 AND p.subject = s.subject)
        OR (NOT s.is_shared AND EXISTS (
            SELECT FROM links m
            WHERE m.controller = $1 AND m.weak = s.subject AND m.strong = $2 AND m.state = 'linked'))
    )
ORDER BY s.subject;
