-- What query asks about acts of two people, and about erasures asked for together. Each runs inside a controller's
-- transaction but the first.

-- due_approvals --
-- What was approved and whose time has come, of every controller; runs with its owner's rights.
SELECT controller, controller_name, approval, act FROM due_approvals();

-- ask_approval --
-- The first of two people.
INSERT INTO approvals (controller, approval, act, target, asked_by, reason, not_before)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- asked_already --
-- Whether the same act waits for the second person already.
SELECT approval FROM approvals
WHERE controller = $1 AND act = $2 AND target = $3 AND done_at IS NULL AND verdict IS DISTINCT FROM 'refused'
ORDER BY asked_at LIMIT 1;

-- approval --
-- One act, with how far it is.
SELECT approval, act, target, asked_by, reason, asked_at, not_before, decided_by, decided_at, decided_because,
    verdict, done_at
FROM approvals WHERE controller = $1 AND approval = $2;

-- lock_approval --
-- The same, locked: of two people one decides first, and of two processes one acts.
SELECT approval, act, target, asked_by, reason, asked_at, not_before, decided_by, decided_at, decided_because,
    verdict, done_at
FROM approvals WHERE controller = $1 AND approval = $2 FOR UPDATE;

-- approvals --
-- The acts that were asked for, the newest first.
SELECT approval, act, target, asked_by, reason, asked_at, not_before, decided_by, decided_at, decided_because,
    verdict, done_at
FROM approvals WHERE controller = $1 ORDER BY asked_at DESC, approval LIMIT $2;

-- decide --
-- The second person's verdict; a refusal counts until it is done.
UPDATE approvals SET decided_by = $3, decided_at = now(), verdict = $4, decided_because = $5
WHERE controller = $1 AND approval = $2 AND done_at IS NULL;

-- approval_done --
-- What was approved has been done.
UPDATE approvals SET done_at = now() WHERE controller = $1 AND approval = $2;

-- is_one_holder --
-- Whether two names are of one holder: the same, keys of which one took the other's place, somebody invited again.
WITH RECURSIVE own AS (
    SELECT access_key, replaces FROM access_keys WHERE controller = $1 AND access_key = $2
    UNION
    SELECT k.access_key, k.replaces
    FROM own JOIN access_keys k ON k.access_key = own.replaces OR k.replaces = own.access_key
    WHERE k.controller = $1
)
SELECT $2 = $3 OR EXISTS (SELECT FROM own WHERE access_key = $3) OR EXISTS (
    SELECT FROM people a
    JOIN people b ON b.controller = a.controller AND b.issuer = a.issuer AND b.subject_sha256 = a.subject_sha256
    WHERE a.controller = $1 AND 'person:' || a.person = $2 AND 'person:' || b.person = $3);

-- one_at_a_time --
-- Whoever counts asks of a controller waits for whoever does it now; until the transaction ends.
SELECT pg_advisory_xact_lock($2, $1);

-- forget_lone_asks --
-- Asks of one person alone that count no more.
DELETE FROM erasure_asks WHERE controller = $1 AND approval IS NULL AND asked_at <= now() - interval '24 hours';

-- lone_asks --
-- Of how many others a person alone asked for the erasure within 24 hours.
SELECT count(DISTINCT subject) FROM erasure_asks WHERE controller = $1 AND approval IS NULL AND subject <> $2;

-- note_lone_ask --
-- One more.
INSERT INTO erasure_asks (controller, ask, subject, asked_at) VALUES ($1, gen_random_uuid(), $2, now());

-- known_subjects --
-- How many of these the controller has, or has had.
SELECT count(*) FROM unnest($2::uuid[]) AS wanted (subject)
WHERE EXISTS (SELECT FROM subjects s WHERE s.controller = $1 AND s.subject = wanted.subject AND s.log IS NULL)
    OR EXISTS (SELECT FROM erasures e WHERE e.controller = $1 AND e.subject = wanted.subject);

-- put_asks --
-- Whom an approval is about; their turn comes later.
INSERT INTO erasure_asks (controller, ask, subject, approval)
SELECT $1, gen_random_uuid(), subject, $2 FROM unnest($3::uuid[]) AS new (subject);

-- next_asks --
-- The next whose turn it is; the approval is locked.
SELECT ask, subject FROM erasure_asks
WHERE controller = $1 AND approval = $2 AND asked_at IS NULL
ORDER BY subject LIMIT $3;

-- note_asks --
-- They have been asked for, each by its event; without one its subject was gone already.
UPDATE erasure_asks a SET asked_at = now(), event = n.event
FROM unnest($2::uuid[], $3::bytea[]) AS n (ask, event)
WHERE a.controller = $1 AND a.ask = n.ask;

-- progress --
-- How far an erasure of many is.
SELECT count(*) AS subjects,
    count(*) FILTER (WHERE a.asked_at IS NULL) AS waiting,
    count(*) FILTER (WHERE EXISTS (
        SELECT FROM erasures e WHERE e.controller = $1 AND e.subject = a.subject)) AS erased,
    count(*) FILTER (WHERE EXISTS (
        SELECT FROM held_erasures h WHERE h.controller = $1 AND h.event = a.event)) AS held
FROM erasure_asks a WHERE a.controller = $1 AND a.approval = $2;

-- terms --
-- What the controller stated last about how it answers people.
SELECT content FROM terms WHERE controller = $1 ORDER BY stated_at DESC LIMIT 1;
