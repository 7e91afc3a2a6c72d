-- Access keys of machines, as an administrator arranges them. Regulators' keys belong to their grants: not these
-- statements'. Every statement runs inside a controller's transaction.

-- add_key --
-- A new key; of its secret only the digest.
INSERT INTO access_keys (controller, access_key, role, secret_sha256, label, expires_at, replaces, sites)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- numbers_of_sites --
-- The sites of these names that visitors' records come from.
SELECT s.site FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND s.name = ANY ($2::text[]) AND l.kind = 'consent';

-- keys --
-- Every key, those that have ended too, the newest first.
SELECT k.access_key, k.role, k.label, k.created_at, k.expires_at, k.revoked_at, k.replaces,
    CASE WHEN k.sites IS NOT NULL THEN ARRAY(
        SELECT s.name FROM sites s WHERE s.controller = k.controller AND s.site = ANY (k.sites) ORDER BY s.name) END
        AS sites
FROM access_keys k
WHERE k.controller = $1 AND k.role <> 'auditor'
ORDER BY k.created_at DESC, k.access_key;

-- key_in_force --
-- What a new key takes over from one that is to be replaced; it waits for whoever is replacing it now.
SELECT role, label, sites, expires_at - created_at AS life FROM access_keys
WHERE controller = $1 AND access_key = $2 AND role <> 'auditor' AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > now())
FOR UPDATE;

-- end_key_at --
-- It was replaced: it ends then, or before if that was set.
UPDATE access_keys SET expires_at = least(expires_at, $3) WHERE controller = $1 AND access_key = $2
RETURNING expires_at;

-- revoke_key --
-- It ends now.
UPDATE access_keys SET revoked_at = now()
WHERE controller = $1 AND access_key = $2 AND role <> 'auditor' AND revoked_at IS NULL
RETURNING role;
