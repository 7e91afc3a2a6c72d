-- What query asks about holds. Every statement runs inside a controller's transaction.

-- site_of_hold --
-- Where an event about nobody in particular goes.
SELECT s.name AS site, l.name AS log
FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND l.closed_at IS NULL AND l.kind = 'consent'
ORDER BY s.log, s.site LIMIT 1;

-- hold --
-- One hold, with how many erasures it has stopped.
SELECT h.hold, h.subject, h.ground, h.case_reference, h.grant_id, h.placed_at, h.review_on, h.expires_at,
    h.is_confidential, h.reviewed_at, h.released_at, h.event, h.released_at IS NULL AND h.expires_at > now() AS stands,
    (SELECT count(*) FROM held_erasures e WHERE e.controller = h.controller AND e.hold = h.hold) AS held_erasures
FROM holds h WHERE h.controller = $1 AND h.hold = $2;

-- holds --
-- Holds, those that end last first; of one subject (and of everybody), or all of them.
SELECT h.hold, h.subject, h.ground, h.case_reference, h.grant_id, h.placed_at, h.review_on, h.expires_at,
    h.is_confidential, h.reviewed_at, h.released_at, h.event, h.released_at IS NULL AND h.expires_at > now() AS stands,
    (SELECT count(*) FROM held_erasures e WHERE e.controller = h.controller AND e.hold = h.hold) AS held_erasures
FROM holds h
WHERE h.controller = $1 AND ($2::uuid IS NULL OR h.subject = $2 OR h.subject IS NULL)
    AND ($3 OR (h.released_at IS NULL AND h.expires_at > now()))
ORDER BY h.expires_at DESC, h.hold LIMIT $4;

-- held_by_grant --
-- Whom a grant's holds stand on already; NULL stands for everybody.
SELECT subject FROM holds WHERE controller = $1 AND grant_id = $2 AND released_at IS NULL AND expires_at > now();

-- grant_to_preserve --
-- A regulator's grant that is in force or will be.
SELECT grant_id, case_reference, subjects FROM grants
WHERE controller = $1 AND grant_id = $2 AND revoked_at IS NULL AND ends_at > now();
