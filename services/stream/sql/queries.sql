-- Statements of the two streams: the inbox table, the positions of the Kafka partitions, and what publishers ask.

-- put_into_inbox --
-- Insert one controller's messages ($1) in the order of the arrays; numbered in that order.
INSERT INTO inbox (controller, log, event_id, site, epoch, value)
SELECT $1, log, event_id, site, epoch, value
FROM unnest($2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[])
    WITH ORDINALITY AS message (log, event_id, site, epoch, value, n)
ORDER BY n
RETURNING seq;

-- read_inbox --
-- The oldest messages but those read ahead already ($2). Takes no lock: two readers may see the same rows.
SELECT controller, seq, log, event_id, site, epoch, value
FROM inbox
WHERE seq <> ALL ($2::bigint[])
ORDER BY seq
LIMIT $1;

-- claim_inbox --
-- Take messages away from every other reader; those another reader holds or has taken are left out.
DELETE FROM inbox
WHERE (controller, seq) IN (
    SELECT i.controller, i.seq
    FROM inbox i
    JOIN unnest($1::integer[], $2::bigint[]) AS wanted (controller, seq)
        ON i.controller = wanted.controller AND i.seq = wanted.seq
    FOR UPDATE OF i SKIP LOCKED
)
RETURNING seq;

-- read_positions --
-- Where the recorded messages of a topic end, partition by partition.
SELECT partition, cluster, next_offset FROM positions WHERE topic = $1 AND partition = ANY ($2::integer[]);

-- lock_positions --
-- The same under lock, in partition order, so that two ledgers never wait for each other in a circle.
SELECT partition, cluster, next_offset
FROM positions
WHERE topic = $1 AND partition = ANY ($2::integer[])
ORDER BY partition
FOR UPDATE;

-- advance_positions --
-- Move locked positions forward, never back.
UPDATE positions p
SET next_offset = s.next_offset
FROM unnest($2::integer[], $3::bigint[]) AS s (partition, next_offset)
WHERE p.topic = $1 AND p.partition = s.partition AND p.next_offset < s.next_offset;

-- insert_positions --
-- The first positions of partitions nobody has recorded from; a row of another ledger that was faster stays.
INSERT INTO positions (topic, partition, cluster, next_offset)
SELECT $1, partition, $2, next_offset
FROM unnest($3::integer[], $4::bigint[]) AS s (partition, next_offset)
ON CONFLICT DO NOTHING
RETURNING partition;

-- places --
-- What became of the copies that somebody waits for.
SELECT nth, outcome, log_name, index FROM find_places($1::integer[], $2::bytea[], $3::text[], $4::integer[], $5::bigint[]);

-- registration --
-- This process's registration: a row as long as the ledger takes what it signs.
SELECT types FROM publishers WHERE publisher = $1 AND public_key = $2 AND revoked_at IS NULL;

-- current_sealing_key --
-- The key of the ledger that new messages are sealed to.
SELECT public_key FROM sealing_keys WHERE replaced_at IS NULL AND destroyed_at IS NULL
ORDER BY created_at DESC, sealing_key LIMIT 1;
