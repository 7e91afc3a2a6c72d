-- Sealing keys in time: the one that messages are sealed to now, those replaced, and those destroyed.

-- lock_sealing_keys --
-- One ledger at a time changes them; the number is arbitrary and ours.
SELECT pg_advisory_xact_lock(7217293014);

-- sealing_keys --
-- Every sealing key there ever was, the oldest first.
SELECT sealing_key, created_at, replaced_at, destroyed_at FROM sealing_keys ORDER BY created_at, sealing_key;

-- publish_sealing_key --
-- From now on publishers seal to this key and to no other.
WITH replaced AS (UPDATE sealing_keys SET replaced_at = $3 WHERE replaced_at IS NULL)
INSERT INTO sealing_keys (sealing_key, public_key, created_at) VALUES ($1, $2, $3);

-- unneeded_sealing_keys --
-- Keys replaced before $1 that no message waiting or set aside is sealed to: bytes 9 to 16 of the epoch header name it.
SELECT k.sealing_key FROM sealing_keys k
WHERE k.destroyed_at IS NULL AND k.replaced_at <= $1
    AND NOT EXISTS (SELECT FROM inbox i WHERE substr(i.epoch, 10, 8) = k.sealing_key)
    AND NOT EXISTS (SELECT FROM dead_letters d WHERE substr(d.epoch, 10, 8) = k.sealing_key);

-- mark_destroyed --
-- The private half of this key is gone.
UPDATE sealing_keys SET destroyed_at = $2 WHERE sealing_key = $1 AND destroyed_at IS NULL;
