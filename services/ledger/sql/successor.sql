-- Statements that let a successor log take over.

-- log_to_close --
-- A log by its name with the keys that may have signed it, and its successor if it has one.
SELECT l.controller, l.log, l.origin, c.erased_at IS NOT NULL AS is_erased,
    (SELECT n.name FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log) AS successor,
    ARRAY(SELECT k.vkey FROM log_keys k WHERE k.controller = l.controller AND k.log = l.log ORDER BY k.number) AS vkeys
FROM logs l JOIN controllers c ON c.controller = l.controller
WHERE l.name = $1;

-- lock_head --
-- Nobody records to the log that is about to be closed.
SELECT FROM log_heads WHERE controller = $1 AND log = $2 FOR UPDATE;

-- succeed --
-- The new log, the old one closed, and the sites of the old one on the new one.
WITH closed AS (
    UPDATE logs SET closed_at = now() WHERE controller = $1 AND log = $2 RETURNING kind
), made AS (
    INSERT INTO logs (controller, name, origin, predecessor, follows_size, follows_root, kind)
    SELECT $1, $3, $4, $2, $5, $6, kind FROM closed RETURNING controller, log
)
UPDATE sites SET log = made.log FROM made WHERE sites.controller = $1 AND sites.log = $2;
