-- Statements of ingest. It runs as sayso_ingest: what is not asked of a function is seen through row-level security
-- of one controller, and names the controller all the same, for the index.

-- site_key --
-- A key that may speak for a site, unless it was revoked.
SELECT controller, site, site_name, controller_name, log_name, kind, secret_sha256, origins FROM find_site_key($1);

-- site --
-- A site by its public name.
SELECT controller, site, site_name FROM find_site($1);

-- site_place --
-- A site that a link names, and the log that takes its records.
SELECT controller, controller_name, site, site_name, log_name FROM find_site_place($1);

-- published_notices --
-- Which notices a site has published, the latest first.
SELECT notice, language FROM notices WHERE controller = $1 AND site = $2 ORDER BY published_at DESC, notice;

-- notice_contents --
-- The exact words of some notices of a site.
SELECT notice, content FROM notices WHERE controller = $1 AND site = $2 AND notice = ANY ($3::bytea[]);

-- matched_hashes --
-- Hashes seen on pages that the DPO tied to a published notice.
SELECT shown FROM notice_matches WHERE controller = $1;
