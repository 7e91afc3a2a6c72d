-- Statements of holds, restrictions and suppressed objections. Like all of the ledger's they name the controller.

-- standing_hold --
-- A hold that stands at a moment on these subjects, on those they would be erased with, or on everybody.
WITH people (subject) AS (
    SELECT unnest($2::uuid[])
    UNION
    SELECT l.strong FROM links l JOIN subjects s ON s.controller = l.controller AND s.subject = l.weak
    WHERE l.controller = $1 AND l.weak = ANY ($2::uuid[]) AND l.state = 'linked' AND NOT s.is_shared
        AND NOT EXISTS (
            SELECT FROM links o
            WHERE o.controller = $1 AND o.weak = l.weak AND o.strong <> l.strong AND o.state = 'linked')
)
SELECT h.hold, h.ground, h.expires_at, h.is_confidential
FROM holds h
WHERE h.controller = $1 AND (h.subject IS NULL OR h.subject IN (SELECT subject FROM people))
    AND h.released_at IS NULL AND h.expires_at > $3
ORDER BY h.is_confidential, h.expires_at DESC, h.hold
LIMIT 1;

-- has_standing_hold --
-- Whether a controller may not be erased as a whole.
SELECT EXISTS (SELECT FROM holds WHERE controller = $1 AND released_at IS NULL AND expires_at > $2);

-- place_hold --
-- A hold, once.
INSERT INTO holds (controller, hold, subject, ground, case_reference, grant_id, placed_at, review_on, expires_at,
    is_confidential, event)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING;

-- review_hold --
-- Somebody looked at it.
UPDATE holds SET reviewed_at = $3, review_on = $4, expires_at = $5
WHERE controller = $1 AND hold = $2 AND released_at IS NULL;

-- release_hold --
-- Two people lifted it.
UPDATE holds SET released_at = $3 WHERE controller = $1 AND hold = $2 AND released_at IS NULL;

-- apply_hold --
-- An ask for an erasure that came to nothing.
INSERT INTO held_erasures (controller, event, hold, held_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- place_restriction --
-- Processing is restricted from now on.
INSERT INTO restrictions (controller, subject, purpose, since, event, request)
SELECT $1, $2, purpose, $4, $5, $6 FROM unnest($3::text[]) AS new (purpose)
ON CONFLICT DO NOTHING;

-- lift_restriction --
-- And no longer: what the same request restricted, or nobody's request.
UPDATE restrictions SET lifted_at = $4
WHERE controller = $1 AND subject = $2 AND purpose = ANY ($3::text[]) AND request IS NOT DISTINCT FROM $5
    AND lifted_at IS NULL;

-- restricted_no_more --
-- Of these purposes ('' is everything, by itself) those that nothing restricts now and something did.
SELECT DISTINCT purpose FROM restrictions r
WHERE controller = $1 AND subject = $2 AND purpose = ANY ($3::text[]) AND NOT EXISTS (
    SELECT FROM restrictions o
    WHERE o.controller = r.controller AND o.subject = r.subject AND o.purpose = r.purpose AND o.lifted_at IS NULL)
ORDER BY purpose;

-- objections --
-- What a subject objects to at this moment.
SELECT purpose, legal_basis, rank FROM consent_state WHERE controller = $1 AND subject = $2 AND decision = 'objected';

-- stated_terms --
-- What the controller stated last about how it answers people.
SELECT content FROM terms WHERE controller = $1 ORDER BY stated_at DESC LIMIT 1;

-- suppress_objections --
-- Objections that outlive an erasure, under each of the names; one that stands is moved on, never back.
INSERT INTO suppressed_objections (controller, identifier, purpose, legal_basis, objected_at, expires_at)
SELECT $1, n.identifier, o.purpose, o.legal_basis, o.objected_at, $6
FROM unnest($2::bytea[]) AS n (identifier)
CROSS JOIN unnest($3::text[], $4::text[], $5::timestamptz[]) AS o (purpose, legal_basis, objected_at)
ON CONFLICT (controller, identifier, purpose, legal_basis) DO UPDATE
SET objected_at = greatest(suppressed_objections.objected_at, excluded.objected_at),
    expires_at = greatest(suppressed_objections.expires_at, excluded.expires_at);

-- end_suppressions --
-- Objections whose stated time is over.
DELETE FROM suppressed_objections WHERE expires_at <= $1;

-- forget_holds --
-- What is left of holds and restrictions of a subject that is erased: none of them stands any more. Nor do the words that
-- two people released one with; what somebody works on at this moment is passed over, for they wait for the ledger.
WITH restricted AS (
    DELETE FROM restrictions WHERE controller = $1 AND subject = $2
), released AS (
    SELECT controller, approval FROM approvals
    WHERE controller = $1 AND act = 'release-hold' AND target IN (
        SELECT convert_to('{"hold":"' || hold || '"}', 'UTF8') FROM holds WHERE controller = $1 AND subject = $2)
    FOR UPDATE SKIP LOCKED
), words AS (
    UPDATE approvals a SET reason = '', decided_because = NULL FROM released r
    WHERE a.controller = r.controller AND a.approval = r.approval
)
DELETE FROM holds WHERE controller = $1 AND subject = $2;
