-- Grants of regulators. Every statement runs inside a controller's transaction.

-- known_subjects --
-- Which of these the controller has, or had before they were erased.
SELECT s.subject FROM subjects s WHERE s.controller = $1 AND s.subject = ANY ($2::uuid[]) AND s.log IS NULL
UNION
SELECT e.subject FROM erasures e WHERE e.controller = $1 AND e.subject = ANY ($2::uuid[]);

-- shown_with --
-- Whose records are shown with those of these subjects: linked to one of them, and never to anybody else.
SELECT DISTINCT l.weak
FROM links l JOIN subjects s ON s.controller = l.controller AND s.subject = l.weak
WHERE l.controller = $1 AND l.strong = ANY ($2::uuid[]) AND l.state = 'linked' AND NOT s.is_shared
    AND NOT EXISTS (
        SELECT FROM links o
        WHERE o.controller = $1 AND o.weak = l.weak AND o.strong <> l.strong AND o.state = 'linked');

-- put_grant --
-- A new grant.
INSERT INTO grants (controller, grant_id, case_reference, authority, subjects, purposes, records_from, records_until,
    begins_at, ends_at, confidential_until, made_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- put_key --
-- The key that opens a grant; it ends with it.
INSERT INTO access_keys (controller, access_key, role, secret_sha256, label, expires_at, grant_id)
SELECT g.controller, $3, 'auditor', $4, g.case_reference, g.ends_at, g.grant_id
FROM grants g WHERE g.controller = $1 AND g.grant_id = $2;

-- end_keys --
-- The keys of a grant, ended; which they were.
UPDATE access_keys SET revoked_at = now() WHERE controller = $1 AND grant_id = $2 AND revoked_at IS NULL
RETURNING access_key;

-- revoke --
-- End a grant now; one that was revoked stays as it was.
UPDATE grants SET revoked_at = now(), revoked_by = $3 WHERE controller = $1 AND grant_id = $2 AND revoked_at IS NULL;

-- grant --
-- One grant, with the names of the keys that open it.
SELECT g.grant_id, g.case_reference, g.authority, g.subjects, g.purposes, g.records_from, g.records_until, g.begins_at,
       g.ends_at, g.confidential_until, g.made_by, g.made_at, g.revoked_at, g.revoked_by,
       ARRAY(SELECT k.access_key FROM access_keys k
             WHERE k.controller = g.controller AND k.grant_id = g.grant_id AND k.revoked_at IS NULL
             ORDER BY k.created_at) AS keys
FROM grants g WHERE g.controller = $1 AND g.grant_id = $2;

-- grants --
-- Every grant, the newest first.
SELECT g.grant_id, g.case_reference, g.authority, g.subjects, g.purposes, g.records_from, g.records_until, g.begins_at,
       g.ends_at, g.confidential_until, g.made_by, g.made_at, g.revoked_at, g.revoked_by,
       ARRAY(SELECT k.access_key FROM access_keys k
             WHERE k.controller = g.controller AND k.grant_id = g.grant_id AND k.revoked_at IS NULL
             ORDER BY k.created_at) AS keys
FROM grants g WHERE g.controller = $1 ORDER BY g.made_at DESC, g.grant_id;
