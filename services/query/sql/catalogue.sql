-- What a controller states of services and has done for them. Inside its transaction; it is named for the index.

-- own_services --
-- The latest of what the controller states of each service.
SELECT DISTINCT ON (service) service, content, published_at FROM catalogue_services
WHERE controller = $1 ORDER BY service, published_at DESC;

-- state_service --
-- A service of the controller's own, or an override; nothing if the latest says exactly this.
INSERT INTO catalogue_services (controller, service, content)
SELECT $1, $2, $3
WHERE $3 IS DISTINCT FROM (
    SELECT content FROM catalogue_services WHERE controller = $1 AND service = $2 ORDER BY published_at DESC LIMIT 1
)
RETURNING service;

-- used_services --
-- Every service that a notice of the controller names.
SELECT DISTINCT s.service
FROM notices n
CROSS JOIN LATERAL jsonb_array_elements(convert_from(n.content, 'UTF8')::jsonb -> 'purposes') p
CROSS JOIN LATERAL jsonb_array_elements_text(p -> 'services') s (service)
WHERE n.controller = $1;

-- steps_done --
-- When each step of each service was last done.
SELECT DISTINCT ON (service, step) service, step, done_on, note FROM compliance_steps
WHERE controller = $1 ORDER BY service, step, done_on DESC;

-- record_step --
-- A step done on a day; nothing if that day is known already.
INSERT INTO compliance_steps (controller, service, step, done_on, note) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING service;
