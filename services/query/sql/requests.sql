-- Requests of data subjects. Every statement runs inside a controller's transaction, and names it for the index.

-- request --
-- Where a request stands, and a site of it whose log takes records.
SELECT r.request, r.asked_for, r.about, r.state, r.subject, r.docket, r.site, r.received_on, r.received_at, r.due_on, r.is_extended,
    r.is_known, r.paused_on, r.paused_days, r.closed_at, r.steps
FROM requests r WHERE r.controller = $1 AND r.request = $2;

-- requests --
-- Requests, those that are due first in front: $2 open ones, closed ones or (NULL) all.
SELECT r.request, r.asked_for, r.about, r.state, r.subject, r.docket, r.site, r.received_on, r.received_at, r.due_on, r.is_extended,
    r.is_known, r.paused_on, r.paused_days, r.closed_at, r.steps
FROM requests r
WHERE r.controller = $1 AND ($2::boolean IS NULL OR (r.closed_at IS NULL) = $2)
    AND ($3::date IS NULL OR (r.due_on < $3 AND r.closed_at IS NULL AND r.paused_on IS NULL))
ORDER BY r.closed_at DESC NULLS FIRST, r.due_on, r.request LIMIT $4;

-- requests_of --
-- Requests of some subjects.
SELECT r.request, r.asked_for, r.about, r.state, r.subject, r.docket, r.site, r.received_on, r.received_at, r.due_on, r.is_extended,
    r.is_known, r.paused_on, r.paused_days, r.closed_at, r.steps
FROM requests r WHERE r.controller = $1 AND r.subject = ANY ($2::uuid[]) ORDER BY r.received_at, r.request;

-- holds_on --
-- Holds that stand on some subjects, or on everybody.
SELECT hold, ground, expires_at, is_confidential FROM holds
WHERE controller = $1 AND (subject IS NULL OR subject = ANY ($2::uuid[])) AND released_at IS NULL AND expires_at > now()
ORDER BY expires_at DESC, hold;

-- steps --
-- The steps of a request, in their order.
SELECT s.nth, s.event, s.type, s.at, s.due_on, l.name AS log, s.index
FROM request_steps s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND s.request = $2 ORDER BY s.nth;

-- has_step --
-- Whether an event is a step of a request.
SELECT EXISTS (SELECT FROM request_steps WHERE controller = $1 AND request = $2 AND event = $3);

-- site_of_request --
-- Where a step of a request goes: its site, or another that takes records.
SELECT s.name AS site, l.name AS log
FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
ORDER BY s.name <> $2, s.site LIMIT 1;

-- person_of_event --
-- Whose record an event became, by the event's dedupe name; nobody's if it belongs to its log's stand-in.
SELECT p.subject
FROM dedupe d
JOIN logs l ON l.controller = d.controller AND l.log = d.log AND l.kind = 'consent'
JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject AND s.log IS NULL
WHERE d.controller = $1 AND d.event = $2;
