-- Exports: the jobs, and the records that they write. All but waiting_exports run inside a controller's transaction.

-- waiting_exports --
-- Jobs that nobody works at, of every controller; runs with the owner's rights.
SELECT controller, controller_name, export FROM waiting_exports(now() - make_interval(secs => $1));

-- insert_export --
-- Asked for; a process will take it up.
INSERT INTO exports (controller, export, content, asked_by, state, records_of, expires_at)
VALUES ($1, $2, $3, $4, 'waiting', $5, $6);

-- export --
-- One job.
SELECT * FROM exports WHERE controller = $1 AND export = $2;

-- is_there --
-- Whether a key or a person was not revoked or removed; a key that only ran out was its holder's own.
SELECT EXISTS (SELECT FROM access_keys WHERE controller = $1 AND access_key = $2 AND revoked_at IS NULL)
    OR EXISTS (SELECT FROM people WHERE controller = $1 AND 'person:' || person = $2 AND removed_at IS NULL);

-- exports_page --
-- The jobs of a controller, the newest first, before the one given.
SELECT * FROM exports
WHERE controller = $1 AND (asked_at, export) < (coalesce($2, 'infinity'::timestamptz), coalesce($3, export))
ORDER BY asked_at DESC, export DESC
LIMIT $4;

-- claim_export --
-- Take a job that waits, or whose process has gone silent.
UPDATE exports SET state = 'running', worker = $3, heartbeat_at = now(), failure = NULL
WHERE controller = $1 AND export = $2
  AND (state = 'waiting' OR (state = 'running' AND heartbeat_at < now() - make_interval(secs => $4)))
RETURNING content, progress, asked_by, asked_at;

-- beat --
-- Say that this process is still at work; no row when the job is another's by now, or was cancelled.
UPDATE exports SET heartbeat_at = now()
WHERE controller = $1 AND export = $2 AND worker = $3 AND state = 'running'
RETURNING true;

-- commit_progress --
-- Everything up to a place is durable; no row as above.
UPDATE exports SET progress = $4, records = $5, heartbeat_at = now()
WHERE controller = $1 AND export = $2 AND worker = $3 AND state = 'running'
RETURNING true;

-- finish_export --
-- Done: the files are there until they expire.
UPDATE exports SET state = 'done', progress = $4, finished_at = now(), expires_at = $5
WHERE controller = $1 AND export = $2 AND worker = $3 AND state = 'running'
RETURNING true;

-- fail_export --
-- Stopped with a reason; it can be resumed.
UPDATE exports SET state = 'failed', failure = $4, finished_at = now()
WHERE controller = $1 AND export = $2 AND worker = $3 AND state = 'running'
RETURNING true;

-- release_export --
-- This process stops; another may go on at once.
UPDATE exports SET state = 'waiting'
WHERE controller = $1 AND export = $2 AND worker = $3 AND state = 'running';

-- cancel_export --
-- End a job or what is left of it; the files go at the next sweep.
UPDATE exports SET state = 'cancelled', finished_at = coalesce(finished_at, now())
WHERE controller = $1 AND export = $2 AND state IN ('waiting', 'running', 'failed', 'done')
RETURNING true;

-- resume_export --
-- Try again from where a job failed.
UPDATE exports SET state = 'waiting', finished_at = NULL, expires_at = greatest(expires_at, $3)
WHERE controller = $1 AND export = $2 AND state = 'failed'
RETURNING true;

-- expire_exports --
-- Those whose time is over.
UPDATE exports SET state = 'expired'
WHERE controller = $1 AND state IN ('waiting', 'failed', 'done') AND expires_at <= now();

-- kept_exports --
-- Those whose files must stay.
SELECT export FROM exports WHERE controller = $1 AND state IN ('waiting', 'running', 'failed', 'done');

-- granted_scope --
-- What a grant covers.
SELECT subjects, purposes, records_from, records_until FROM grants WHERE controller = $1 AND grant_id = $2;

-- known_subjects --
-- How many of some subjects are there.
SELECT count(*) FROM subjects WHERE controller = $1 AND subject = ANY ($2::uuid[]) AND log IS NULL;

-- places_of_subjects --
-- How many records some subjects have.
SELECT count(*) FROM payloads WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- exported_logs --
-- The logs of what sites post: how far they go, and how much of it is published.
SELECT l.log AS log_number, l.name AS log, l.origin, coalesce(h.published_size, 0) AS published,
       CASE WHEN l.closed_at IS NULL THEN h.size ELSE coalesce(h.published_size, 0) END AS size
FROM logs l
JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.controller = $1 AND l.kind = 'consent'
ORDER BY l.log;

-- entry_at --
-- One entry.
SELECT entry FROM records WHERE controller = $1 AND log = $2 AND index = $3;

-- export_rows --
-- A page of a log's records with their parts and the keys that these open with, from one place on, before another.
SELECT p.log AS log_number, l.name AS log, l.origin, p.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch,
       CASE WHEN s.log IS NULL THEN s.subject END AS subject
FROM payloads p
JOIN logs l ON l.controller = p.controller AND l.log = p.log
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
WHERE p.controller = $1 AND p.log = $2 AND p.index >= $3 AND p.index < $4
ORDER BY p.index
LIMIT $5;

-- export_rows_of_subjects --
-- The same of some subjects.
SELECT p.log AS log_number, l.name AS log, l.origin, p.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch, s.subject
FROM payloads p
JOIN logs l ON l.controller = p.controller AND l.log = p.log
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject AND s.log IS NULL
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
WHERE p.controller = $1 AND p.log = $2 AND p.index >= $3 AND p.index < $4 AND p.subject = ANY ($6::uuid[])
ORDER BY p.index
LIMIT $5;

-- export_subjects --
-- The next persons in the order of their ids, after the one given; of some if any are named.
SELECT subject FROM subjects
WHERE controller = $1 AND subject > $2 AND log IS NULL AND ($3::uuid[] IS NULL OR subject = ANY ($3::uuid[]))
ORDER BY subject
LIMIT $4;
