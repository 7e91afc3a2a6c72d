-- What query asks about downstream systems. Every statement runs inside a controller's transaction.

-- put_downstream --
-- State a system; one that was removed comes back with another secret.
INSERT INTO downstreams (controller, system, kind, tells, services, url, sealed_to, instructions, answer_days)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (controller, system) DO UPDATE SET kind = excluded.kind, tells = excluded.tells,
    services = excluded.services, url = excluded.url, sealed_to = excluded.sealed_to,
    instructions = excluded.instructions, answer_days = excluded.answer_days,
    secret_number = downstreams.secret_number + (downstreams.removed_at IS NOT NULL)::integer, removed_at = NULL
RETURNING secret_number;

-- downstream --
-- One system, with a lock for whoever changes it.
SELECT system, kind, tells, services, url, sealed_to, instructions, answer_days, secret_number, added_at
FROM downstreams WHERE controller = $1 AND system = $2 AND removed_at IS NULL;

-- downstreams --
-- Every system in use.
SELECT system, kind, tells, services, url, sealed_to, instructions, answer_days, secret_number, added_at
FROM downstreams WHERE controller = $1 AND removed_at IS NULL ORDER BY system;

-- remove_downstream --
-- Nothing more is sent to it; what it has not answered ends as overdue, or is answered by a human.
UPDATE downstreams SET removed_at = now() WHERE controller = $1 AND system = $2 AND removed_at IS NULL;

-- next_secret --
-- Its secret is another from now on.
UPDATE downstreams SET secret_number = secret_number + 1
WHERE controller = $1 AND system = $2 AND removed_at IS NULL RETURNING secret_number;

-- find_trigger --
-- Whose trigger an answer is about, before the controller is known.
SELECT controller, controller_name, system, secret_number FROM find_trigger($1);

-- trigger --
-- One trigger, with how far its delivery is.
SELECT t.trigger, t.docket, t.subject, t.system, d.kind, d.instructions, t.action, t.purpose, t.made_at, t.due_at,
    t.sent_at, t.answered_at, t.outcome, t.reason, v.attempts, v.last_status, v.dead_at
FROM triggers t
JOIN downstreams d ON d.controller = t.controller AND d.system = t.system
LEFT JOIN deliveries v ON v.controller = t.controller AND v.trigger = t.trigger
WHERE t.controller = $1 AND t.trigger = $2;

-- triggers --
-- A page of triggers of a state, in the order of their ids; 'task' are those that a human has to see to.
SELECT t.trigger, t.docket, t.subject, t.system, d.kind, d.instructions, t.action, t.purpose, t.made_at, t.due_at,
    t.sent_at, t.answered_at, t.outcome, t.reason, v.attempts, v.last_status, v.dead_at
FROM triggers t
JOIN downstreams d ON d.controller = t.controller AND d.system = t.system
LEFT JOIN deliveries v ON v.controller = t.controller AND v.trigger = t.trigger
WHERE t.controller = $1 AND t.trigger > $3 AND CASE $2::text
    WHEN 'open' THEN t.answered_at IS NULL
    WHEN 'overdue' THEN (t.answered_at IS NULL AND t.due_at <= now()) OR t.outcome = 'overdue'
    WHEN 'answered' THEN t.answered_at IS NOT NULL
    WHEN 'task' THEN t.answered_at IS NULL AND d.kind = 'task'
    ELSE true END
ORDER BY t.trigger LIMIT $4;

-- triggers_of_docket --
-- Who was told of an erasure, and what each answered.
SELECT t.trigger, t.docket, t.subject, t.system, d.kind, d.instructions, t.action, t.purpose, t.made_at, t.due_at,
    t.sent_at, t.answered_at, t.outcome, t.reason, v.attempts, v.last_status, v.dead_at
FROM triggers t
JOIN downstreams d ON d.controller = t.controller AND d.system = t.system
LEFT JOIN deliveries v ON v.controller = t.controller AND v.trigger = t.trigger
WHERE t.controller = $1 AND t.docket = $2 ORDER BY t.system, t.action, t.purpose;

-- sealed_docket --
-- What finds an erased person, for the human who has to find them; nothing once it is closed.
SELECT sealed, wrapped_key, key_epoch FROM dockets WHERE controller = $1 AND docket = $2 AND sealed IS NOT NULL;

-- site_for_triggers --
-- Where an event about a trigger goes: a site of the controller's first log that takes records.
SELECT s.name AS site, l.name AS log
FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
ORDER BY l.log, s.site LIMIT 1;

-- deliveries --
-- A page of what is on its way, or was given up; never what is in it.
SELECT delivery, system, kind, trigger, made_at, attempts, next_at, last_status, dead_at FROM deliveries
WHERE controller = $1 AND delivered_at IS NULL AND (dead_at IS NOT NULL) = $2 AND delivery > $3
ORDER BY delivery LIMIT $4;

-- deliver_again --
-- A dead letter is tried once more, at once.
UPDATE deliveries SET next_at = now(), dead_at = NULL
WHERE controller = $1 AND delivery = $2 AND dead_at IS NOT NULL RETURNING delivery;

-- delivery_waits --
-- Whether a delivery is on its way.
SELECT EXISTS (
    SELECT FROM deliveries WHERE controller = $1 AND delivery = $2 AND delivered_at IS NULL AND dead_at IS NULL);
