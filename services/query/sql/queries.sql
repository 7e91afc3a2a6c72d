-- Every statement of query. All but the first three run inside a controller's transaction: row-level security
-- hides other controllers' rows even from a statement that forgets to name the controller.

-- find_access_key --
-- Whose key it is; runs with the owner's rights because the controller is not known yet.
SELECT controller, controller_name, role, secret_sha256, expires_at, sites, grant_id FROM find_access_key($1);

-- grant_in_force --
-- What a regulator may look at; no row before it begins, after its end, or once it or the key ($3) was revoked.
SELECT grant_id, case_reference, subjects, purposes, records_from, records_until, confidential_until
FROM grants
WHERE controller = $1 AND grant_id = $2 AND revoked_at IS NULL AND begins_at <= now() AND ends_at > now()
    AND NOT EXISTS (SELECT FROM access_keys k WHERE k.controller = $1 AND k.access_key = $3 AND k.revoked_at IS NOT NULL);

-- find_site_key --
-- The server key with which a site has signed who a visitor is.
SELECT site_name, secret_sha256 FROM find_site_key($1) WHERE kind = 'sk';

-- find_log --
-- The controller, origin and verifier key of a public log name.
SELECT controller, log, origin, vkey FROM find_log($1);

-- find_site_place --
-- Whose site a capability names, and which pages may show what it opens.
SELECT controller, controller_name, site_name, origins FROM find_site_place($1);

-- identifiers_exist --
-- Whether the controller has any subject yet; before that there is no identifier key to look up with.
SELECT EXISTS (SELECT FROM identifiers WHERE controller = $1);

-- subject_of_identifier --
-- The subject that an identifier's name stands for.
SELECT subject FROM identifiers WHERE controller = $1 AND identifier = $2;

-- subject --
-- A person's key, and whether any record lost its decision part; stand-ins of logs are nobody. Who looked decides
-- nothing: the access log is left out here and below.
SELECT s.wrapped_key, s.key_epoch,
       EXISTS (SELECT FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
               WHERE p.controller = s.controller AND p.subject = s.subject AND p.what IS NULL AND l.kind = 'consent')
           AS lost
FROM subjects s
WHERE s.controller = $1 AND s.subject = $2 AND s.log IS NULL;

-- age --
-- The latest that a site said of a person's age, by then; of one moment, what protects a child.
SELECT is_over, stated_at FROM ages
WHERE controller = $1 AND subject = $2 AND stated_at <= $3
ORDER BY stated_at DESC, is_over LIMIT 1;

-- subjects --
-- The same of several persons.
SELECT s.subject, s.wrapped_key, s.key_epoch,
       EXISTS (SELECT FROM payloads p JOIN logs l ON l.controller = p.controller AND l.log = p.log
               WHERE p.controller = s.controller AND p.subject = s.subject AND p.what IS NULL AND l.kind = 'consent')
           AS lost
FROM subjects s
WHERE s.controller = $1 AND s.subject = ANY ($2::uuid[]) AND s.log IS NULL;

-- erased_at --
-- When a subject was erased: its id is all that is left of it.
SELECT erased_at FROM erasures WHERE controller = $1 AND subject = $2 ORDER BY number LIMIT 1;

-- state --
-- What is true now, each answer with the record that decided it.
SELECT c.purpose, c.legal_basis, c.decision, c.rank, c.event, d.received_at, l.name AS log, l.origin, d.index,
       p.nonce, p.what
FROM consent_state c
JOIN dedupe d ON d.controller = c.controller AND d.event = c.event
JOIN logs l ON l.controller = d.controller AND l.log = d.log
LEFT JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
WHERE c.controller = $1 AND c.subject = $2
ORDER BY c.purpose, c.legal_basis;

-- decision_parts --
-- The decision part of every record of some subjects, for folding them at a moment.
SELECT p.subject, l.name AS log, l.origin, p.index, p.nonce, p.what
FROM payloads p
JOIN logs l ON l.controller = p.controller AND l.log = p.log
WHERE p.controller = $1 AND p.subject = ANY ($2::uuid[]) AND p.what IS NOT NULL AND l.kind = 'consent'
ORDER BY p.log, p.index;

-- received --
-- The earliest received_at of each event's copies: the one that ranks.
SELECT event, received_at FROM dedupe WHERE controller = $1 AND event = ANY($2::bytea[]) AND received_at IS NOT NULL;

-- history --
-- One page of the records of some subjects in the order of their places, after the place given.
SELECT p.subject, p.log AS log_number, l.name AS log, l.origin, p.index, p.nonce, p.who, p.what, p.context, r.entry,
       coalesce(h.published_size, 0) > p.index AS published
FROM payloads p
JOIN logs l ON l.controller = p.controller AND l.log = p.log
JOIN log_heads h ON h.controller = p.controller AND h.log = p.log
JOIN records r ON r.controller = p.controller AND r.log = p.log AND r.index = p.index
WHERE p.controller = $1 AND p.subject = ANY ($2::uuid[]) AND (p.log, p.index) > ($3, $4) AND l.kind = 'consent'
ORDER BY p.log, p.index
LIMIT $5;

-- matches --
-- Which of the hashes seen on pages a DPO has tied to a published notice.
SELECT shown, notice, matched_at FROM notice_matches WHERE controller = $1 AND shown = ANY($2::bytea[]);

-- notices --
-- What an answer's validity needs of the notices of some sites, and of some hashes wherever they were published.
SELECT s.name AS site, n.notice, n.published_at, j.body ->> 'notice_id' AS notice_id, j.body ->> 'version' AS version,
       coalesce((j.body ->> 'asks_again')::boolean, false) AS asks_again,
       greatest(n.published_at, (j.body ->> 'effective_at')::timestamptz) AS in_force_at,
       ARRAY(SELECT q ->> 'purpose' FROM jsonb_array_elements(j.body -> 'purposes') q
             WHERE q ?| ARRAY['valid_days', 'valid_for']) AS expiring,
       ARRAY(SELECT coalesce(q ->> 'valid_for', 'P' || (q ->> 'valid_days') || 'D')
             FROM jsonb_array_elements(j.body -> 'purposes') q
             WHERE q ?| ARRAY['valid_days', 'valid_for']) AS validity
FROM notices n
JOIN sites s ON s.controller = n.controller AND s.site = n.site
CROSS JOIN LATERAL (SELECT convert_from(n.content, 'UTF8')::jsonb AS body) j
WHERE n.controller = $1 AND (s.name = ANY($2::text[]) OR n.notice = ANY($3::bytea[]));

-- event --
-- The record of an event by its dedupe name, with its encrypted parts and the key they open with; of a look at personal
-- data only for whom the access log is ($3).
SELECT d.log AS log_number, l.origin, l.vkey, d.index, r.entry, p.nonce, p.who, p.what, p.context,
       p.who_digest, p.what_digest, p.context_digest, s.wrapped_key, s.key_epoch, s.subject
FROM dedupe d
JOIN logs l ON l.controller = d.controller AND l.log = d.log
JOIN records r ON r.controller = d.controller AND r.log = d.log AND r.index = d.index
JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
WHERE d.controller = $1 AND d.event = $2 AND (l.kind = 'consent' OR $3);

-- subject_of_event --
-- Whose record an event became, by the event's dedupe name.
SELECT p.subject
FROM dedupe d
JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
WHERE d.controller = $1 AND d.event = $2;

-- notice_content --
-- The exact bytes of a notice, whichever site showed it.
SELECT content FROM notices WHERE controller = $1 AND notice = $2 LIMIT 1;

-- receipt_facts --
-- Whose record stands at a place of a log, and what the controller says of itself; stand-ins of logs are nobody.
SELECT c.details, CASE WHEN s.log IS NULL THEN s.subject END AS subject
FROM logs l
JOIN payloads p ON p.controller = l.controller AND p.log = l.log AND p.index = $3
JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject
JOIN controllers c ON c.controller = l.controller
WHERE l.controller = $1 AND l.origin = $2;

-- last_checkpoint --
-- What of a log is published: nothing at or past this size may be served.
-- Cosignatures follow the log's own signature, in the order of the witnesses' names.
SELECT c.size, c.note || coalesce((
        SELECT string_agg(x.line, '' ORDER BY x.witness, x.key_id) FROM cosignatures x
        WHERE x.controller = c.controller AND x.log = c.log AND x.size = c.size), '') AS note
FROM log_heads h
JOIN checkpoints c ON c.controller = h.controller AND c.log = h.log AND c.size = h.published_size
WHERE h.controller = $1 AND h.log = $2;

-- log_keys --
-- Every key that ever signed a log's checkpoints.
SELECT number, vkey, statement, made_at, ends_at FROM log_keys WHERE controller = $1 AND log = $2 ORDER BY number;

-- tiles --
-- Hash tiles, each cut to the width asked for: a row may have grown past what is published.
SELECT t.level, t.tile, w.width, substr(t.hashes, 1, 32 * w.width) AS hashes
FROM unnest($3::integer[], $4::bigint[], $5::integer[]) AS w (level, tile, width)
JOIN tiles t ON t.controller = $1 AND t.log = $2 AND t.level = w.level AND t.tile = w.tile;

-- entries --
-- The entries of one bundle, in order.
SELECT entry FROM records WHERE controller = $1 AND log = $2 AND index >= $3 AND index < $4 ORDER BY index;

-- publishers --
-- The keys that sign epoch headers now; no controller's.
SELECT service, public_key FROM publishers WHERE revoked_at IS NULL ORDER BY service, registered_at, publisher;

-- ready --
-- Whether the database answers at all.
SELECT true;
