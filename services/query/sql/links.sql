-- What query asks about links between subjects. Every statement runs inside a controller's transaction.

-- link_acts --
-- Every act that links a subject to another, or ends that, from either side; what was erased links nothing.
SELECT l.weak, l.strong, l.state, l.acted_at, d.received_at
FROM links l JOIN dedupe d ON d.controller = l.controller AND d.event = l.event
WHERE l.controller = $1 AND (l.weak = $2 OR l.strong = $2) AND l.weak IS NOT NULL;

-- linked_only_to --
-- Whose records are shown with a subject's: those that were linked to it, and never to anybody else.
SELECT DISTINCT l.weak
FROM links l JOIN subjects s ON s.controller = l.controller AND s.subject = l.weak
WHERE l.controller = $1 AND l.strong = $2 AND l.state = 'linked' AND NOT s.is_shared
    AND NOT EXISTS (
        SELECT FROM links o
        WHERE o.controller = $1 AND o.weak = l.weak AND o.strong <> $2 AND o.state = 'linked')
ORDER BY l.weak;

-- scopes --
-- The scope of each purpose of the notices of some sites, and of some notices wherever they were published.
SELECT n.notice, s.name AS site, n.published_at, q ->> 'purpose' AS purpose, coalesce(q ->> 'scope', 'device') AS scope
FROM notices n
JOIN sites s ON s.controller = n.controller AND s.site = n.site
CROSS JOIN LATERAL jsonb_array_elements(convert_from(n.content, 'UTF8')::jsonb -> 'purposes') q
WHERE n.controller = $1 AND (s.name = ANY ($2::text[]) OR n.notice = ANY ($3::bytea[]));
