-- Material changes of notices: what nobody was told of yet.

-- count_notices --
-- How many there are; none is ever deleted.
SELECT count(*) FROM notices;

-- unannounced_versions --
-- Versions of notices that were published and not announced, with the version before each at its site (NULL: the first).
-- One row a version, in the order of publication; of several languages the fallback's, or the first.
WITH published AS (
    SELECT n.controller, n.site, n.notice, n.language, n.content, n.published_at,
        j.body ->> 'notice_id' AS notice_id, j.body ->> 'version' AS version,
        (j.body ->> 'fallback_language') IS NOT DISTINCT FROM n.language AS is_fallback
    FROM notices n CROSS JOIN LATERAL (SELECT convert_from(n.content, 'UTF8')::jsonb AS body) j
), versions AS (
    SELECT DISTINCT ON (controller, site, notice_id, version) *
    FROM published ORDER BY controller, site, notice_id, version, is_fallback DESC, published_at, notice
)
SELECT v.controller, v.site, v.notice, v.content, v.notice_id, v.version, s.name AS site_name, s.log, b.content AS before
FROM versions v
JOIN sites s ON s.controller = v.controller AND s.site = v.site
JOIN controllers c ON c.controller = v.controller AND c.erased_at IS NULL
LEFT JOIN LATERAL (
    SELECT o.content FROM published o
    WHERE (o.controller, o.site, o.notice_id) = (v.controller, v.site, v.notice_id) AND o.version <> v.version
        AND o.published_at < v.published_at
    ORDER BY o.published_at DESC, o.language = v.language DESC, o.notice LIMIT 1
) b ON true
WHERE NOT EXISTS (
    SELECT FROM announced_versions a
    WHERE (a.controller, a.site, a.notice_id, a.version) = (v.controller, v.site, v.notice_id, v.version))
ORDER BY v.controller, v.published_at, v.notice;

-- announce_version --
-- True for the one who is first to say so.
INSERT INTO announced_versions (controller, site, notice_id, version) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING true AS is_first;
