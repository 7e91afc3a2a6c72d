-- Notices as a DPO publishes them over the API. Every statement runs inside a controller's transaction.

-- site --
-- A site of the controller by its name; the place of its access records is none.
SELECT s.site FROM sites s JOIN logs l ON l.controller = s.controller AND l.log = s.log
WHERE s.controller = $1 AND s.name = $2 AND l.kind = 'consent';

-- published --
-- The notices of a site, oldest first.
SELECT notice, language, content, published_at FROM notices
WHERE controller = $1 AND site = $2 ORDER BY published_at, language;

-- content --
-- The bytes of one notice of a site, by its hash in hex as a path names it.
SELECT content FROM notices WHERE controller = $1 AND site = $2 AND encode(notice, 'hex') = $3;

-- publish --
-- Store a notice under its hash; the same words twice are one notice.
INSERT INTO notices (controller, notice, site, language, content) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- is_published --
-- Whether the controller has published this notice anywhere.
SELECT EXISTS (SELECT FROM notices WHERE controller = $1 AND notice = $2);

-- match --
-- The DPO's statement that a hash seen on a page stands for a published notice.
INSERT INTO notice_matches (controller, shown, notice) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
