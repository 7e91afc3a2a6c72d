-- Statements of ingest about a controller's own catalogue, through row-level security.

-- own_services --
-- What a controller states of each service: its own ones and its overrides, the latest of each.
SELECT DISTINCT ON (service) service, content FROM catalogue_services
WHERE controller = $1 ORDER BY service, published_at DESC;
