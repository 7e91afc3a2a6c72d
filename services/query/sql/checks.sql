-- What bulk checks ask: the reads of one subject's state, for many subjects at once. Every statement runs inside a
-- controller's transaction.

-- subjects_of_identifiers --
-- The subjects that some identifiers' names stand for.
SELECT identifier, subject FROM identifiers WHERE controller = $1 AND identifier = ANY ($2::bytea[]);

-- erased_ats --
-- When some subjects were erased.
SELECT DISTINCT ON (subject) subject, erased_at FROM erasures
WHERE controller = $1 AND subject = ANY ($2::uuid[])
ORDER BY subject, number;

-- states --
-- What is true now of one purpose, of some subjects.
SELECT c.subject, c.purpose, c.legal_basis, c.decision, c.rank, c.event, d.received_at, l.name AS log, l.origin,
       d.index, p.nonce, p.what
FROM consent_state c
JOIN dedupe d ON d.controller = c.controller AND d.event = c.event
JOIN logs l ON l.controller = d.controller AND l.log = d.log
LEFT JOIN payloads p ON p.controller = d.controller AND p.log = d.log AND p.index = d.index
WHERE c.controller = $1 AND c.subject = ANY ($2::uuid[]) AND c.purpose = $3
ORDER BY c.subject, c.legal_basis;

-- link_acts_of --
-- Every act that links one of some subjects to another, or ends that, from either side.
SELECT l.weak, l.strong, l.state, l.acted_at, d.received_at
FROM links l JOIN dedupe d ON d.controller = l.controller AND d.event = l.event
WHERE l.controller = $1 AND (l.weak = ANY ($2::uuid[]) OR l.strong = ANY ($2::uuid[])) AND l.weak IS NOT NULL;

-- ages_of --
-- What sites said of some persons' ages, the latest first; of one moment, what protects a child.
SELECT subject, is_over, stated_at FROM ages
WHERE controller = $1 AND subject = ANY ($2::uuid[])
ORDER BY stated_at DESC, is_over;

-- restrictions_of --
-- Every restriction that there is or was on the processing about some persons.
SELECT subject, purpose, since, lifted_at FROM restrictions WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- suppressed --
-- Which of some identifiers' names belong to erased people who objected to a purpose before a moment.
SELECT DISTINCT identifier FROM suppressed_objections
WHERE controller = $1 AND identifier = ANY ($2::bytea[]) AND purpose = $3 AND objected_at <= $4 AND expires_at > now();
