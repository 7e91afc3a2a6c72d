-- Statements of fsck over what acts leave behind: the records are projected again into tables of this session alone, which
-- stand in the way of the true ones by their names; those are `public.` here.

-- lay_out --
-- Empty tables of the same shape, before the snapshot begins: inside it nothing can be made. `acting`: the records that
-- may have changed something, and whether they could be read.
CREATE TEMP TABLE requests (LIKE public.requests INCLUDING ALL);
CREATE TEMP TABLE request_steps (LIKE public.request_steps INCLUDING ALL);
CREATE TEMP TABLE holds (LIKE public.holds INCLUDING ALL);
CREATE TEMP TABLE held_erasures (LIKE public.held_erasures INCLUDING ALL);
CREATE TEMP TABLE restrictions (LIKE public.restrictions INCLUDING ALL);
CREATE TEMP TABLE account_deletions (LIKE public.account_deletions INCLUDING ALL);
CREATE TEMP TABLE acting (
    log integer NOT NULL,
    index bigint NOT NULL,
    subject uuid NOT NULL,
    is_read boolean NOT NULL DEFAULT false,
    PRIMARY KEY (log, index)
);

-- clear_away --
-- And gone again, so that their names mean the true tables.
DROP TABLE pg_temp.requests, pg_temp.request_steps, pg_temp.holds, pg_temp.held_erasures, pg_temp.restrictions,
    pg_temp.account_deletions, pg_temp.acting;

-- begin_with_acting --
-- The places of the records, read or not; how many there are is how long the walk will be.
INSERT INTO pg_temp.acting (log, index, subject)
SELECT p.log, p.index, p.subject
FROM payloads p
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
JOIN logs l ON l.controller = p.controller AND l.log = p.log AND l.kind = 'consent'
WHERE p.controller = $1
    AND (position('"class":"request"'::bytea IN r.entry) > 0 OR position('"class":"system"'::bytea IN r.entry) > 0);

-- begin_with_requests --
-- Requests of the erased stand as they are, as they do when they are rebuilt: their records are gone.
INSERT INTO pg_temp.requests SELECT * FROM public.requests WHERE controller = $1 AND docket IS NOT NULL;

-- begin_with_steps --
-- And their steps.
INSERT INTO pg_temp.request_steps SELECT s.* FROM public.request_steps s
WHERE s.controller = $1 AND EXISTS (
    SELECT FROM pg_temp.requests r WHERE r.controller = s.controller AND r.request = s.request);

-- mark_read --
-- What these records say is known.
UPDATE pg_temp.acting a SET is_read = true
FROM unnest($1::integer[], $2::bigint[]) AS n (log, index) WHERE a.log = n.log AND a.index = n.index;

-- differences --
-- Where a row is not what the records say. A difference counts only if the row's own records could be read, and every
-- act of its subject: what is wrong with a record is named there, and retention may have deleted what one said.
WITH unread AS (
    SELECT DISTINCT a.subject, s.log IS NOT NULL AS is_nobodys
    FROM pg_temp.acting a LEFT JOIN subjects s ON s.controller = $1 AND s.subject = a.subject
    WHERE NOT a.is_read
), events AS (
    SELECT d.event FROM dedupe d JOIN pg_temp.acting a ON a.log = d.log AND a.index = d.index
    WHERE d.controller = $1 AND a.is_read
), broken AS (
    SELECT DISTINCT s.request FROM public.request_steps s
    WHERE s.controller = $1 AND NOT EXISTS (SELECT FROM events e WHERE e.event = s.event)
), found AS (
    SELECT 'requests' AS found_in, 'request ' || coalesce(o.request, n.request) AS place,
        o.controller IS NULL AS is_missing, n.controller IS NULL AS is_unfounded,
        o.docket IS NOT NULL OR NOT EXISTS (SELECT FROM broken b WHERE b.request = o.request)
            AND NOT EXISTS (SELECT FROM unread u WHERE u.subject = o.subject) AS counts
    FROM (SELECT * FROM public.requests WHERE controller = $1) o
    FULL JOIN pg_temp.requests n ON n.request = o.request
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
    UNION ALL
    SELECT 'request_steps', 'request ' || coalesce(o.request, n.request) || ', step ' || coalesce(o.nth, n.nth),
        o.controller IS NULL, n.controller IS NULL,
        n.controller IS NOT NULL OR NOT EXISTS (SELECT FROM broken b WHERE b.request = o.request)
    FROM (SELECT * FROM public.request_steps WHERE controller = $1) o
    FULL JOIN pg_temp.request_steps n ON n.request = o.request AND n.nth = o.nth
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
    UNION ALL
    SELECT 'holds', 'hold ' || coalesce(o.hold, n.hold), o.controller IS NULL, n.controller IS NULL,
        (n.controller IS NOT NULL OR EXISTS (SELECT FROM events e WHERE e.event = o.event)) AND NOT EXISTS (
            SELECT FROM unread u WHERE u.subject = o.subject OR (o.subject IS NULL AND u.is_nobodys))
    FROM (SELECT * FROM public.holds WHERE controller = $1) o
    FULL JOIN pg_temp.holds n ON n.hold = o.hold
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
    UNION ALL
    SELECT 'held_erasures', 'event ' || encode(coalesce(o.event, n.event), 'hex'), o.controller IS NULL, n.controller IS NULL,
        (n.controller IS NOT NULL OR EXISTS (SELECT FROM events e WHERE e.event = o.event))
    FROM (SELECT * FROM public.held_erasures WHERE controller = $1) o
    FULL JOIN pg_temp.held_erasures n ON n.event = o.event
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
    UNION ALL
    SELECT 'restrictions', 'subject ' || coalesce(o.subject, n.subject), o.controller IS NULL, n.controller IS NULL,
        (n.controller IS NOT NULL OR EXISTS (SELECT FROM events e WHERE e.event = o.event))
            AND NOT EXISTS (SELECT FROM unread u WHERE u.subject = o.subject)
    FROM (SELECT * FROM public.restrictions WHERE controller = $1) o
    FULL JOIN pg_temp.restrictions n ON n.subject = o.subject AND n.purpose = o.purpose AND n.event = o.event
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
    UNION ALL
    SELECT 'account_deletions', 'subject ' || coalesce(o.subject, n.subject), o.controller IS NULL, n.controller IS NULL,
        NOT EXISTS (SELECT FROM unread u WHERE u.subject = o.subject)
    FROM (SELECT * FROM public.account_deletions WHERE controller = $1) o
    FULL JOIN pg_temp.account_deletions n ON n.subject = o.subject
    WHERE ROW(o.*) IS DISTINCT FROM ROW(n.*)
)
SELECT DISTINCT found_in, place, is_missing, is_unfounded FROM found WHERE is_missing OR counts ORDER BY found_in, place;

-- stray_steps --
-- Steps of no request, and steps whose event the dedupe does not know at their place.
SELECT s.request, s.nth,
    NOT EXISTS (SELECT FROM public.requests r WHERE r.controller = s.controller AND r.request = s.request) AS no_request
FROM public.request_steps s
WHERE s.controller = $1 AND (
    NOT EXISTS (SELECT FROM public.requests r WHERE r.controller = s.controller AND r.request = s.request)
    OR NOT EXISTS (
        SELECT FROM dedupe d
        WHERE d.controller = s.controller AND d.event = s.event AND d.log = s.log AND d.index = s.index))
ORDER BY s.request, s.nth;

-- events_of_no_record --
-- Rows of what one event says whose event the dedupe does not know as a record.
SELECT t.found_in, t.place
FROM (
    SELECT 'holds' AS found_in, 'hold ' || hold AS place, event FROM public.holds WHERE controller = $1
    UNION ALL
    SELECT 'held_erasures', 'event ' || encode(event, 'hex'), event FROM public.held_erasures WHERE controller = $1
    UNION ALL
    SELECT 'restrictions', 'subject ' || subject, event FROM public.restrictions WHERE controller = $1
    UNION ALL
    SELECT 'account_deletions', 'subject ' || subject, event FROM public.account_deletions
    WHERE controller = $1 AND event IS NOT NULL
) t
WHERE NOT EXISTS (
    SELECT FROM dedupe d WHERE d.controller = $1 AND d.event = t.event AND d.index IS NOT NULL)
ORDER BY t.found_in, t.place;
