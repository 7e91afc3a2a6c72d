-- What the operator's commands ask of the database, as the role sayso_owner. Each statement is one command's one act.

-- create_controller --
-- A new controller; its number.
INSERT INTO controllers (name, legal_name, contact) VALUES ($1, $2, $3) RETURNING controller;

-- find_controller --
-- The number of a controller by its name.
SELECT controller FROM controllers WHERE name = $1;

-- describe_controller --
-- State what receipts say of a controller, in place of what was stated before; its number.
UPDATE controllers SET details = $2 WHERE name = $1 RETURNING controller;

-- show_controller --
-- What is stated of a controller; details are NULL until it was described.
SELECT name, legal_name, contact, details FROM controllers WHERE name = $1;

-- list_controllers --
-- Every controller with how many sites and logs it has; the place of its access records is no site.
SELECT c.name, c.legal_name, c.contact,
       (SELECT count(*) FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
        WHERE s.controller = c.controller AND l.kind = 'consent') AS sites,
       (SELECT count(*) FROM logs l WHERE l.controller = c.controller) AS logs
FROM controllers c ORDER BY c.name;

-- create_log --
-- A new log of a controller; the ledger makes its signing key when it opens it.
INSERT INTO logs (controller, name, origin) VALUES ($1, $2, $3) RETURNING log;

-- find_log_of_controller --
-- The number of a controller's log by its name; its access log takes no site.
SELECT log FROM logs WHERE controller = $1 AND name = $2 AND kind = 'consent';

-- find_access_log --
-- The number of the log that takes a controller's access records.
SELECT log FROM logs WHERE controller = $1 AND kind = 'access' AND closed_at IS NULL;

-- create_access_log --
-- The log of a controller's access records, and the place that they are posted from: no site, it has no keys.
WITH made AS (
    INSERT INTO logs (controller, name, origin, kind) VALUES ($1, $2, $3, 'access') RETURNING controller, log
)
INSERT INTO sites (controller, name, log) SELECT controller, $4, log FROM made;

-- lacking_access_log --
-- Controllers with a log and without one for access records, and the origin of their first log.
SELECT c.name, (SELECT l.origin FROM logs l WHERE l.controller = c.controller ORDER BY l.log LIMIT 1) AS origin
FROM controllers c
WHERE c.erased_at IS NULL
    AND EXISTS (SELECT FROM logs l WHERE l.controller = c.controller)
    AND NOT EXISTS (SELECT FROM logs l WHERE l.controller = c.controller AND l.kind = 'access' AND l.closed_at IS NULL)
ORDER BY c.name;

-- create_site --
-- A new site, bound to its log for good.
INSERT INTO sites (controller, name, log, origins) VALUES ($1, $2, $3, $4) RETURNING site;

-- find_site_of_operator --
-- A site by its name, with its controller; the place of access records is none.
SELECT s.controller, s.site FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.name = $1 AND l.kind = 'consent';

-- list_sites --
-- Sites, of one controller or ($1 NULL) of all, with log, the newest verifier key, size and allowed origins.
SELECT s.name, c.name AS controller, l.name AS log, coalesce(h.size, 0) AS size,
       array_to_string(s.origins, ' ') AS origins,
       (SELECT k.vkey FROM log_keys k WHERE k.controller = l.controller AND k.log = l.log AND k.ends_at IS NULL) AS vkey
FROM sites s
JOIN controllers c ON c.controller = s.controller
JOIN logs l ON l.controller = s.controller AND l.log = s.log
LEFT JOIN log_heads h ON h.controller = l.controller AND h.log = l.log
WHERE $1::text IS NULL OR c.name = $1
ORDER BY c.name, s.name;

-- allow_origin --
-- Let pages of an origin use the site's publishable keys; changes nothing if they may already.
UPDATE sites SET origins = CASE WHEN $2 = ANY (origins) THEN origins ELSE array_append(origins, $2) END
FROM logs l
WHERE sites.name = $1 AND l.controller = sites.controller AND l.log = sites.log AND l.kind = 'consent' RETURNING origins;

-- create_site_key --
-- A key that posts events to a site.
INSERT INTO site_keys (controller, site_key, site, kind, secret_sha256) VALUES ($1, $2, $3, $4, $5);

-- create_access_key --
-- A key that reads a controller's answers in a role.
INSERT INTO access_keys (controller, access_key, role, secret_sha256, label, expires_at, sites)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- replace_access_key --
-- A key that opens what the one before opens, which ends after a while; a regulator's is its grant's.
WITH before AS (
    UPDATE access_keys SET expires_at = least(expires_at, now() + $4::interval)
    WHERE access_key = $1 AND role <> 'auditor' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    RETURNING controller, role, label, sites
), was AS (
    SELECT expires_at - created_at AS life FROM access_keys WHERE access_key = $1
)
INSERT INTO access_keys (controller, access_key, role, secret_sha256, label, expires_at, sites, replaces)
SELECT b.controller, $2, b.role, $3, b.label, now() + coalesce(w.life, interval '365 days'), b.sites, $1 FROM before b, was w
RETURNING access_key;

-- invite_person --
-- Somebody who may sign in once they have opened the invitation.
INSERT INTO people (controller, person, name, role) VALUES ($1, $2, $3, $4);

-- list_people --
-- Everybody who may sign in, or is invited to.
SELECT p.person, c.name AS controller, p.name, p.role, p.added_at, p.issuer IS NOT NULL AS has_signed_in
FROM people p JOIN controllers c ON c.controller = p.controller
WHERE p.removed_at IS NULL ORDER BY c.name, p.added_at, p.person;

-- remove_person --
-- They open nothing any more.
UPDATE people SET removed_at = now() WHERE person = $1 AND removed_at IS NULL;

-- list_keys --
-- Every key with what it opens; secrets are not stored and so cannot be listed.
SELECT k.site_key AS key, k.kind AS kind, s.name AS opens, k.created_at, NULL AS expires_at, k.revoked_at
FROM site_keys k JOIN sites s ON s.controller = k.controller AND s.site = k.site
UNION ALL
SELECT k.access_key, k.role, c.name, k.created_at, k.expires_at, k.revoked_at
FROM access_keys k JOIN controllers c ON c.controller = k.controller
UNION ALL
SELECT encode(publisher, 'hex'), 'publisher', service, registered_at, NULL, revoked_at FROM publishers
ORDER BY 4;

-- revoke_site_key --
-- End a site key; it stays in the list.
UPDATE site_keys SET revoked_at = now() WHERE site_key = $1 AND revoked_at IS NULL;

-- revoke_access_key --
-- End an access key; it stays in the list.
UPDATE access_keys SET revoked_at = now() WHERE access_key = $1 AND revoked_at IS NULL;

-- revoke_publisher --
-- End a publisher: what it signed and is not recorded yet goes to the dead letters.
UPDATE publishers SET revoked_at = now() WHERE encode(publisher, 'hex') = $1 AND revoked_at IS NULL;

-- register_publisher --
-- Let a publishing process's key sign epoch headers for these event types; again for the same key changes nothing.
INSERT INTO publishers (publisher, public_key, service, types) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- publish_notice --
-- Store a notice under its hash; the same words twice are one notice.
INSERT INTO notices (controller, notice, site, language, content) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- list_notices --
-- The notices of a site, oldest first.
SELECT n.notice, n.language, n.content, n.published_at FROM notices n
JOIN sites s ON s.controller = n.controller AND s.site = n.site
WHERE s.name = $1 ORDER BY n.published_at, n.language;

-- has_notice --
-- Whether a controller has published this notice anywhere.
SELECT EXISTS (SELECT FROM notices WHERE controller = $1 AND notice = $2);

-- match_notice --
-- The DPO's statement that a hash seen on a page stands for a published notice.
INSERT INTO notice_matches (controller, shown, notice) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- opened_logs --
-- Every log with its verifier key, the numbers of the keys that sign now, and the size of its last checkpoint, NULL
-- before the ledger has opened it.
SELECT l.name, l.origin, l.vkey, h.size, h.signed_size,
    ARRAY(SELECT k.number FROM log_keys k WHERE k.controller = l.controller AND k.log = l.log
          AND (k.ends_at IS NULL OR k.ends_at > now()) ORDER BY k.number) AS keys
FROM logs l
LEFT JOIN log_heads h ON h.controller = l.controller AND h.log = l.log ORDER BY l.name;

-- waiting_messages --
-- How many messages lie in the inbox, not recorded yet.
SELECT count(*) FROM inbox;

-- dead_letter_reasons --
-- How many messages were set aside, by reason.
SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY reason;

-- publishers_at_work --
-- The registered publishers that were not revoked.
SELECT service, public_key FROM publishers WHERE revoked_at IS NULL;

-- sealing_keys_at_work --
-- The sealing key that messages are sealed to now.
SELECT sealing_key FROM sealing_keys WHERE replaced_at IS NULL AND destroyed_at IS NULL;

-- deployment --
-- The high-water directory this database belongs to, none before the first ledger.
SELECT high_water_id FROM deployment;

-- roles_missing --
-- Those of Sayso's roles that the cluster does not have.
SELECT r.name FROM unnest(ARRAY['sayso_owner', 'sayso_ingest', 'sayso_ledger', 'sayso_query']) AS r (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name) ORDER BY 1;

-- set_minimal_proof_rule --
-- The controller's written rule for a purpose; a new one takes the place of the old.
INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days) VALUES ($1, $2, $3, $4)
ON CONFLICT (controller, purpose) DO UPDATE
SET ground = excluded.ground, keep_days = excluded.keep_days, set_at = now();

-- list_minimal_proof_rules --
-- Every written rule.
SELECT c.name, r.purpose, r.ground, r.keep_days, r.set_at
FROM minimal_proof_rules r JOIN controllers c ON c.controller = r.controller ORDER BY c.name, r.purpose;

-- cosigned_checkpoints --
-- The newest few checkpoints of each log with their cosignatures, and the largest size that has waited for them long ($1
-- seconds). One row without a note for a log that nobody has cosigned.
SELECT l.name, l.origin, c.note || c.lines AS note, (
    SELECT max(o.size) FROM checkpoints o
    WHERE o.controller = l.controller AND o.log = l.log AND o.signed_at < now() - $1 * interval '1 second'
) AS overdue, c.size
FROM logs l LEFT JOIN LATERAL (
    SELECT k.size, k.note, string_agg(x.line, '') AS lines
    FROM cosignatures x JOIN checkpoints k ON k.controller = x.controller AND k.log = x.log AND k.size = x.size
    WHERE x.controller = l.controller AND x.log = l.log
    GROUP BY k.size, k.note ORDER BY k.size DESC LIMIT 20
) c ON true
ORDER BY l.name, c.size DESC;
