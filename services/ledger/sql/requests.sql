-- Statements of requests of data subjects. Like all of the ledger's they name the controller.

-- terms_at --
-- What the controller stated of its deadlines when a request came.
SELECT content FROM terms WHERE controller = $1 AND stated_at <= $2 ORDER BY stated_at DESC LIMIT 1;

-- put_request --
-- A request as it came in; it is there once, however often its record is projected.
INSERT INTO requests (controller, request, asked_for, about, state, subject, site, received_on, received_at, due_on, is_known,
    steps)
VALUES ($1, $2, $3, $4, 'received', $5, $6, $7, $8, $9, $10, 1)
ON CONFLICT DO NOTHING RETURNING request;

-- put_step --
-- One step of a request, and where its record stands.
INSERT INTO request_steps (controller, request, nth, event, type, at, due_on, log, index)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING;

-- lock_request --
-- Where a request stands, until this transaction ends.
SELECT state, paused_on, closed_at, steps FROM requests WHERE controller = $1 AND request = $2 FOR UPDATE;

-- move_request --
-- Where a request stands after a step. Whose it is may be learned late, and is forgotten with the person.
UPDATE requests SET state = $3, due_on = coalesce($4, due_on), is_extended = is_extended OR $5, paused_on = $6,
    paused_days = coalesce($7, paused_days), closed_at = $8, steps = steps + 1,
    subject = CASE WHEN docket IS NULL THEN coalesce(subject, $9) END
WHERE controller = $1 AND request = $2;

-- due_soon --
-- Open requests whose clock runs and that are due by a day, with the last reminder of that same due day.
SELECT r.controller, r.request, r.docket, r.received_at, r.due_on, r.steps, l.log, l.name AS log_name,
    (SELECT max(s.at) FROM request_steps s WHERE s.controller = r.controller AND s.request = r.request
        AND s.type = 'request.reminded' AND s.due_on = r.due_on) AS reminded_at
FROM requests r
JOIN sites t ON t.controller = r.controller AND t.name = r.site
JOIN logs l ON l.controller = t.controller AND l.log = t.log
WHERE r.controller = $1 AND r.closed_at IS NULL AND r.paused_on IS NULL AND r.due_on <= $2 AND l.closed_at IS NULL
ORDER BY r.request;

-- controllers_with_due --
-- Controllers with such requests.
SELECT DISTINCT r.controller FROM requests r JOIN controllers c ON c.controller = r.controller
WHERE r.closed_at IS NULL AND r.paused_on IS NULL AND r.due_on <= $1 AND c.erased_at IS NULL ORDER BY 1;
