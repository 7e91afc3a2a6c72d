-- Statements about downstream systems: triggers, and deliveries of them and of other messages.

-- make_triggers --
-- One trigger for each system that has to act on a cause, and its delivery; a restriction that is over concerns those
-- that were told of it. Its id is a hash of what it is about, so that
-- the same cause, also after a restore, leads to the same message.
WITH chosen AS (
    SELECT d.system, d.answer_days,
        overlay(overlay(left(encode(sha256(convert_to(
            concat_ws(E'\n', 'sayso/trigger/v1', d.controller::text, $2::text, d.system, $3::text, $4::text), 'UTF8')), 'hex'), 32)
            placing '8' from 13) placing '8' from 17)::uuid AS trigger
    FROM downstreams d
    WHERE d.controller = $1::integer AND d.removed_at IS NULL AND 'triggers' = ANY (d.tells)
        AND ($8::text[] IS NULL OR d.services = '{}' OR d.services && $8::text[])
        AND ($3::text <> 'unrestrict' OR EXISTS (
            SELECT FROM triggers t WHERE t.controller = d.controller AND t.subject = $6::uuid AND t.system = d.system
                AND t.action = 'restrict' AND t.purpose = $4::text))
), made AS (
    INSERT INTO triggers (controller, trigger, docket, subject, system, action, purpose, cause, made_at, due_at)
    SELECT $1::integer, trigger, $5::bigint, $6::uuid, system, $3::text, $4::text, $2::text, $7::timestamptz,
        least($7::timestamptz + make_interval(days => answer_days),
            (SELECT limit_at FROM dockets WHERE controller = $1::integer AND docket = $5::bigint))
    FROM chosen ORDER BY system ON CONFLICT DO NOTHING RETURNING trigger, system
)
INSERT INTO deliveries (controller, delivery, system, kind, trigger, made_at, next_at)
SELECT $1::integer, trigger, system, 'trigger', trigger, $7::timestamptz, $7::timestamptz FROM made
ON CONFLICT DO NOTHING;

-- notice_content --
-- The words that a record names; whichever of the controller's sites published them.
SELECT content FROM notices WHERE controller = $1 AND notice = $2 LIMIT 1;

-- has_chosen_services --
-- Whether any system is told only of the services whose data it holds.
SELECT EXISTS (
    SELECT FROM downstreams WHERE controller = $1 AND removed_at IS NULL AND services <> '{}') AS is_there;

-- adopt_triggers --
-- What was open for somebody who is erased now is found by the docket, and ends with it.
UPDATE triggers SET docket = $2, subject = NULL,
    due_at = least(due_at, (SELECT limit_at FROM dockets WHERE controller = $1 AND docket = $2))
WHERE controller = $1 AND subject = ANY ($3::uuid[]);

-- put_delivery --
-- A message of another kind; the same id twice does no harm.
INSERT INTO deliveries (controller, delivery, system, kind, body, made_at, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING;

-- systems_told --
-- The systems of a controller that are told of something: triggers, records or notices.
SELECT system, kind, services FROM downstreams
WHERE controller = $1 AND removed_at IS NULL AND $2::text = ANY (tells) ORDER BY system;

-- controllers --
-- Those that may have downstream systems.
SELECT name FROM controllers WHERE erased_at IS NULL ORDER BY controller;

-- due_systems --
-- Systems with something to send.
SELECT d.controller, c.name, d.system, d.kind, d.url, d.sealed_to, d.services, d.secret_number
FROM downstreams d JOIN controllers c ON c.controller = d.controller
WHERE d.removed_at IS NULL AND c.erased_at IS NULL AND EXISTS (
    SELECT FROM deliveries v
    WHERE v.controller = d.controller AND v.system = d.system AND v.next_at <= $1
        AND v.delivered_at IS NULL AND v.dead_at IS NULL);

-- claim --
-- Some deliveries of one system; until the lease ends no other ledger takes them, and after a crash one does.
WITH due AS (
    SELECT controller, delivery FROM deliveries
    WHERE controller = $1 AND system = $2 AND next_at <= $3 AND delivered_at IS NULL AND dead_at IS NULL
    ORDER BY next_at, delivery LIMIT $5 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries v SET next_at = $4, attempts = v.attempts + 1 FROM due
WHERE v.controller = due.controller AND v.delivery = due.delivery
RETURNING v.delivery, v.kind, v.trigger, v.body, v.made_at, v.attempts;

-- triggers_to_send --
-- The triggers of deliveries, with the dockets that hold what finds the person. One that is being answered just now is
-- left out: who answers holds the trigger and wants its delivery, which who asks here holds.
SELECT t.trigger, t.docket, t.subject, t.action, t.purpose, t.sealed, t.made_at, t.due_at, t.sent_at, t.answered_at,
    o.sealed AS docket_sealed, o.wrapped_key, o.key_epoch, o.limit_at
FROM triggers t LEFT JOIN dockets o ON o.controller = t.controller AND o.docket = t.docket
WHERE t.controller = $1 AND t.trigger = ANY ($2::uuid[]) FOR UPDATE OF t SKIP LOCKED;

-- keep_sealed --
-- What a system finds the person by, sealed to it.
UPDATE triggers SET sealed = $3 WHERE controller = $1 AND trigger = $2 AND answered_at IS NULL;

-- drop_trigger --
-- A system that turns out to hold nothing of the person.
WITH gone AS (DELETE FROM deliveries WHERE controller = $1 AND trigger = $2)
DELETE FROM triggers WHERE controller = $1 AND trigger = $2;

-- lock_dockets --
-- Of two answers about one docket one comes first; in order, like everybody's locks.
SELECT docket FROM dockets WHERE controller = $1 AND docket = ANY ($2::bigint[]) ORDER BY docket FOR UPDATE;

-- lock_triggers --
-- As they stand now, in order.
SELECT trigger, docket, system, action, purpose, sent_at, answered_at, outcome FROM triggers
WHERE controller = $1 AND trigger = ANY ($2::uuid[]) ORDER BY trigger FOR UPDATE;

-- dockets_of --
-- The dockets that these triggers hold open.
SELECT DISTINCT docket FROM triggers WHERE controller = $1 AND trigger = ANY ($2::uuid[]) AND docket IS NOT NULL;

-- sent --
-- A system has taken these triggers.
UPDATE triggers SET sent_at = $3 WHERE controller = $1 AND trigger = ANY ($2::uuid[]) AND sent_at IS NULL;

-- answer --
-- A system's answer, the first or one after it was overdue; what it found the person by is gone, and nothing more is sent.
WITH done AS (
    DELETE FROM deliveries WHERE controller = $1 AND trigger = $2
)
UPDATE triggers SET answered_at = $3, outcome = $4, reason = $5, sealed = NULL
WHERE controller = $1 AND trigger = $2 AND (answered_at IS NULL OR (outcome = 'overdue' AND $4 <> 'overdue'));

-- taken --
-- What was taken is not sent again; messages of other kinds are not needed any more.
WITH messages AS (
    DELETE FROM deliveries WHERE controller = $1 AND delivery = ANY ($2::uuid[]) AND kind <> 'trigger'
)
UPDATE deliveries SET delivered_at = $3, last_status = NULL
WHERE controller = $1 AND delivery = ANY ($2::uuid[]) AND kind = 'trigger';

-- failed --
-- Again at that time, or given up.
UPDATE deliveries SET next_at = $3, last_status = $4, dead_at = $5 WHERE controller = $1 AND delivery = $2;

-- log_for_triggers --
-- The log that says what became of triggers: the controller's first that takes records.
SELECT l.controller, c.name AS controller_name, l.log, l.name, l.origin,
    ARRAY(SELECT s.name FROM sites s WHERE s.controller = l.controller AND s.log = l.log ORDER BY s.site) AS sites,
    l.follows_size IS NOT NULL AS follows
FROM logs l JOIN controllers c ON c.controller = l.controller
JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE l.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
    AND EXISTS (SELECT FROM sites s WHERE s.controller = l.controller AND s.log = l.log)
ORDER BY l.log LIMIT 1;

-- ended --
-- Triggers that nobody has answered by their docket's limit, or by their own date if their subject lives on.
SELECT t.controller, t.trigger FROM triggers t
LEFT JOIN dockets o ON o.controller = t.controller AND o.docket = t.docket
WHERE t.answered_at IS NULL AND t.due_at <= $1 AND coalesce(o.closed_at, o.limit_at, t.due_at) <= $1
ORDER BY t.controller, t.trigger LIMIT $2;

-- told_and_answered --
-- Dockets that nothing keeps open any more.
SELECT d.controller, array_agg(d.docket ORDER BY d.docket) AS dockets FROM dockets d
WHERE d.closed_at IS NULL AND d.told_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM triggers t WHERE t.controller = d.controller AND t.docket = d.docket AND t.answered_at IS NULL)
GROUP BY d.controller;

-- forget_dead --
-- Dead letters that nobody has sent again.
DELETE FROM deliveries WHERE dead_at <= $1 AND kind <> 'trigger';

-- waiting --
-- What the metrics say: deliveries on their way and given up, triggers whose date has passed.
SELECT (SELECT count(*) FROM deliveries WHERE delivered_at IS NULL AND dead_at IS NULL) AS waiting,
    (SELECT count(*) FROM deliveries WHERE dead_at IS NOT NULL) AS dead,
    (SELECT count(*) FROM triggers WHERE answered_at IS NULL AND due_at <= $1) AS overdue;
