-- What `sayso catalogue` asks of the database besides the statements it shares with query.

-- notices_of_site --
-- Every notice of a site, the latest first, with the site's controller.
SELECT s.controller, n.content FROM sites s
LEFT JOIN notices n ON n.controller = s.controller AND n.site = s.site
WHERE s.name = $1 ORDER BY n.published_at DESC, n.notice;
