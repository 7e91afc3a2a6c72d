-- What limits the use of somebody's data: restrictions, and objections that outlived an erasure. Every statement runs
-- inside a controller's transaction.

-- restrictions --
-- Purposes whose processing was restricted for these subjects at $3, as known at $4; '' is every purpose.
SELECT DISTINCT purpose FROM restrictions
WHERE controller = $1 AND subject = ANY ($2::uuid[]) AND since <= least($3::timestamptz, $4::timestamptz)
    AND (lifted_at IS NULL OR lifted_at > least($3::timestamptz, $4::timestamptz));

-- suppressions_exist --
-- Whether anybody's objection outlived an erasure; before that there may be no key to look up with.
SELECT EXISTS (SELECT FROM suppressed_objections WHERE controller = $1);

-- suppressed_objections --
-- Objections to a purpose, made before a moment, of people who were erased, by the names of identifiers.
SELECT legal_basis, objected_at, expires_at FROM suppressed_objections
WHERE controller = $1 AND identifier = ANY ($2::bytea[]) AND purpose = $3 AND objected_at <= $4 AND expires_at > now();

-- identifying_parts --
-- The parts that name a subject, the newest first.
SELECT l.origin, p.index, p.nonce, p.who
FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = $2 AND p.who IS NOT NULL AND l.kind = 'consent'
ORDER BY p.log DESC, p.index DESC LIMIT $3;
