-- The signing keys of logs in time: which sign now, and how one hands over to the next.

-- log_keys_in_force --
-- The keys that sign a log's checkpoints now, the oldest first.
SELECT number, vkey, reference FROM log_keys
WHERE controller = $1 AND log = $2 AND (ends_at IS NULL OR ends_at > now())
ORDER BY number;

-- all_log_keys_in_force --
-- The keys that sign now, of every log that is still written to.
SELECT l.name, k.vkey, k.reference FROM log_keys k JOIN logs l ON l.controller = k.controller AND l.log = k.log
WHERE (k.ends_at IS NULL OR k.ends_at > now())
    AND NOT EXISTS (SELECT FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log)
ORDER BY l.name, k.number;

-- lock_log_for_new_key --
-- An open log and its newest key. Whoever holds the head is the only one who signs, and the only one who adds a key.
SELECT h.controller, h.log, l.origin, h.signed_size, k.number, k.vkey, k.reference
FROM logs l
JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
JOIN log_keys k ON k.controller = l.controller AND k.log = l.log AND k.ends_at IS NULL
WHERE l.name = $1 AND h.signed_size IS NOT NULL
    AND NOT EXISTS (SELECT FROM logs n WHERE n.controller = l.controller AND n.predecessor = l.log)
FOR UPDATE OF h;

-- add_log_key --
-- The next key of a log; the one before it goes on signing until $7 from now.
WITH ending AS (
    UPDATE log_keys SET ends_at = now() + $7::interval WHERE controller = $1 AND log = $2 AND number = $3 - 1
)
INSERT INTO log_keys (controller, log, number, vkey, reference, statement) VALUES ($1, $2, $3, $4, $5, $6);

-- log_keys_of --
-- Every key of a log by name, and whether it has ended.
SELECT k.number, k.reference, k.ends_at, coalesce(k.ends_at <= now(), false) AS has_ended
FROM log_keys k JOIN logs l ON l.controller = k.controller AND l.log = k.log
WHERE l.name = $1 ORDER BY k.number;
