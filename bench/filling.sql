-- Filler for a long log: rows of the sizes and the scattered keys of real ones, by the number that stands in them.
-- $1 controller, $2 log, $3 and $4 the first number and the one behind the last.

-- subjects --
-- A key that opens nothing.
INSERT INTO subjects (controller, subject, wrapped_key, key_epoch)
SELECT $1, md5('s' || n)::uuid, substr(decode(repeat(md5('k' || n), 3), 'hex'), 1, 40), $2::integer * 0 + 1
FROM generate_series($3::bigint, $4::bigint - 1) n;

-- identifiers --
-- One a subject.
INSERT INTO identifiers (controller, identifier, subject)
SELECT $1, decode(md5('i' || n), 'hex'), md5('s' || n)::uuid
FROM generate_series($3::bigint, $4::bigint - 1) n WHERE $2::integer > 0;

-- records --
-- As long as the entry of bench/event.json.
INSERT INTO records (controller, log, index, entry)
SELECT $1, $2, n, decode(repeat(md5('r' || n), 29), 'hex') FROM generate_series($3::bigint, $4::bigint - 1) n;

-- payloads --
-- As long as its parts.
INSERT INTO payloads (controller, log, index, subject, nonce, who, what, context)
SELECT $1, $2, n, md5('s' || n)::uuid, substr(decode(md5('n' || n), 'hex'), 1, 11),
    decode(repeat(md5('a' || n), 8), 'hex'), decode(repeat(md5('b' || n), 42), 'hex'),
    decode(repeat(md5('c' || n), 16), 'hex')
FROM generate_series($3::bigint, $4::bigint - 1) n;

-- dedupe --
-- One a record.
INSERT INTO dedupe (controller, event, log, index, content, received_at)
SELECT $1, decode(md5('e' || n), 'hex'), $2, n, decode(md5('c' || n), 'hex'), now()
FROM generate_series($3::bigint, $4::bigint - 1) n;

-- consent_state --
-- Two purposes a record.
INSERT INTO consent_state (controller, subject, purpose, legal_basis, decision, rank, event)
SELECT $1, md5('s' || n)::uuid, p, 'consent', 'granted', now(), decode(md5('e' || n), 'hex')
FROM generate_series($3::bigint, $4::bigint - 1) n CROSS JOIN unnest(ARRAY['chat-history', 'chat-proactive']) p
WHERE $2::integer > 0;
