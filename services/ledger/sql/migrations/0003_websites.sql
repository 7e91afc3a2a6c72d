-- Websites: keys of apps, links between a visitor's identifiers, a controller's own services and their steps.

-- Keys of native apps have no secret and no origin.
ALTER TABLE site_keys DROP CONSTRAINT site_keys_kind_check;
ALTER TABLE site_keys ADD CONSTRAINT site_keys_kind_check CHECK (kind IN ('pk', 'sk', 'app'));

-- Links ----------------------------------------------------------------------------------------------------------------

-- Acts that link a weaker identifier's subject to a stronger one's, or end that (sign-in, sign-out); never merged.
CREATE TABLE links (
    controller integer NOT NULL,
    -- The dedupe name of the event that says so, and which of its identifiers, in its order, is the weaker one.
    event bytea NOT NULL CHECK (length(event) = 16),
    nth smallint NOT NULL,
    strong uuid NOT NULL,
    -- NULL once that subject was erased: then this links nothing.
    weak uuid CHECK (weak <> strong),
    state text NOT NULL CHECK (state IN ('linked', 'ended')),
    -- The rank of the event: min(time, received_at), so that nothing depends on the order of arrival.
    acted_at timestamptz NOT NULL,
    PRIMARY KEY (controller, event, nth)
);
CREATE INDEX links_weak_idx ON links (controller, weak);
CREATE INDEX links_strong_idx ON links (controller, strong);

-- What a site's corrections undo, by the dedupe names of the events, whether those have come or not: only an unconfirmed
-- event that stands here has its subject projected anew, or a stranger who sends many would keep the ledger busy.
CREATE TABLE corrections (
    controller integer NOT NULL,
    event bytea NOT NULL CHECK (length(event) = 16),
    PRIMARY KEY (controller, event)
);

-- Whether it was linked to somebody who was erased and survived that: it is nobody's alone any more.
ALTER TABLE subjects ADD COLUMN is_shared boolean NOT NULL DEFAULT false;

-- A controller's own catalogue -----------------------------------------------------------------------------------------

CREATE TABLE catalogue_services (
    controller integer NOT NULL REFERENCES controllers,
    service text NOT NULL CHECK (service ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Canonical JSON: a whole service, or the members that replace those of the catalogue. The latest counts.
    content bytea NOT NULL,
    PRIMARY KEY (controller, service, published_at)
);

CREATE TABLE compliance_steps (
    controller integer NOT NULL REFERENCES controllers,
    service text NOT NULL CHECK (service ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    step text NOT NULL,
    done_on date NOT NULL,
    note text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (controller, service, step, done_on)
);

-- A site with the log that takes its records, for capabilities and links that name it; none of an erased controller.
CREATE FUNCTION find_site_place(wanted text)
RETURNS TABLE (controller integer, controller_name text, site integer, site_name text, log_name text, origins text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT s.controller, c.name, s.site, s.name, l.name, s.origins
    FROM sites s
    JOIN logs l ON l.controller = s.controller AND l.log = s.log
    JOIN controllers c ON c.controller = s.controller
    WHERE s.name = wanted AND c.erased_at IS NULL
$$;
REVOKE ALL ON FUNCTION find_site_place(text) FROM PUBLIC;

-- What ingest publishes besides since then.
UPDATE publishers SET types = array_append(types, 'correction')
WHERE service = 'ingest' AND NOT 'correction' = ANY (types);

-- Grants ---------------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT, DELETE ON links TO sayso_ledger;
GRANT UPDATE (weak) ON links TO sayso_ledger;
GRANT SELECT, INSERT ON corrections TO sayso_ledger;
GRANT UPDATE (is_shared) ON subjects TO sayso_ledger;
GRANT SELECT ON catalogue_services, compliance_steps TO sayso_ledger;
GRANT SELECT ON catalogue_services TO sayso_ingest;
GRANT SELECT ON links, catalogue_services, compliance_steps TO sayso_query;
-- A DPO states these over the API; they are the controller's own words, and nobody's personal data.
GRANT INSERT ON notices, notice_matches, catalogue_services, compliance_steps TO sayso_query;
GRANT EXECUTE ON FUNCTION find_site(text) TO sayso_query;
GRANT EXECUTE ON FUNCTION find_site_place(text) TO sayso_ingest, sayso_query;

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['links', 'corrections', 'catalogue_services', 'compliance_steps']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_controller ON %I USING (controller = current_controller())', walled);
    END LOOP;
END
$$;
