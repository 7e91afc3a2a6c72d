-- What a signed answer needs besides the answer. Every statement runs inside a controller's transaction.

-- answering_logs --
-- Every log that could hold a decision, also those that have a successor.
SELECT l.log AS log_number, l.name AS log, l.origin
FROM logs l JOIN log_heads h ON h.controller = l.controller AND h.log = l.log AND h.published_size IS NOT NULL
WHERE l.controller = $1 AND l.kind = 'consent'
ORDER BY l.log;

-- answering_ends --
-- By log the last record of some subjects, or of what says that they were erased; who looked at them decides nothing.
SELECT log_number, max(places.index) AS index
FROM (
    SELECT p.log AS log_number, p.index FROM payloads p WHERE p.controller = $1 AND p.subject = ANY ($2::uuid[])
    UNION ALL
    SELECT e.declared_log, e.declared_index
    FROM erased_parts e JOIN erasures x ON x.controller = e.controller AND x.number = e.number
    WHERE e.controller = $1 AND x.subject = ANY ($2::uuid[]) AND e.declared_index IS NOT NULL
) places
JOIN logs l ON l.controller = $1 AND l.log = log_number AND l.kind = 'consent'
GROUP BY log_number;

-- answering_controller --
-- Whose answer it is.
SELECT name, legal_name, contact FROM controllers WHERE controller = $1;
