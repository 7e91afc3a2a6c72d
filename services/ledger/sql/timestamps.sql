-- Statements of services.ledger.evidence.timestamps. They run as sayso_ledger, which bypasses row-level security: the ledger asks
-- for all controllers, and every row carries its own.

-- take_turn --
-- One session at a time asks the authorities, which may charge for a token; the lock lasts as long as the session.
SELECT pg_try_advisory_lock(hashtextextended('sayso.timestamps', 0)) AS mine;

-- end_when_silent --
-- The session asks several times a second: a ledger that is silent this long is stalled, and another takes the turn.
SET idle_session_timeout = '30s';

-- last_tokens --
-- Per log and authority the largest size with a verified token, and how long ago the latest one was obtained.
SELECT controller, log, authority, max(size) AS size,
       extract(epoch FROM now() - max(obtained_at))::double precision AS age_s
FROM timestamps WHERE gen_time IS NOT NULL
GROUP BY controller, log, authority;

-- published_sizes --
-- What readers see of every log that has records.
SELECT controller, log, published_size AS size FROM log_heads WHERE published_size > 0;

-- wishes --
-- Checkpoints whose proofs are about to be exported.
SELECT controller, log, size FROM timestamp_wishes ORDER BY wished_at LIMIT 100;

-- unanswered --
-- Of these checkpoints and authorities, those without a verified token and with fewer than $5 answers, and the note.
SELECT a.controller, a.log, a.size, a.authority, c.note
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::text[]) AS a (controller, log, size, authority)
JOIN checkpoints c ON c.controller = a.controller AND c.log = a.log AND c.size = a.size
WHERE (SELECT count(*) < $5 AND count(t.gen_time) = 0 FROM timestamps t
       WHERE t.controller = a.controller AND t.log = a.log AND t.size = a.size AND t.authority = a.authority);

-- keep_answer --
-- The raw answer, verified or not.
INSERT INTO timestamps (controller, log, size, authority, response, nonce, gen_time, verified_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- settle_wishes --
-- Wishes that every authority of $1 has fulfilled or cannot: it gave a verified token, or $2 answers that do not verify,
-- or it fails for now ($3) while another one has given a token.
DELETE FROM timestamp_wishes w WHERE NOT EXISTS (
    SELECT FROM unnest($1::text[]) AS a (authority) WHERE NOT EXISTS (
        SELECT FROM timestamps t WHERE t.controller = w.controller AND t.log = w.log AND t.size = w.size
        HAVING count(t.gen_time) FILTER (WHERE t.authority = a.authority) > 0
            OR count(*) FILTER (WHERE t.authority = a.authority) >= $2
            OR (a.authority = ANY ($3::text[]) AND count(t.gen_time) > 0)
    )
);
