-- Statements of rebuild beside the ledger's own.

-- count_subjects_to_project --
-- How long the walk will be.
SELECT count(*) AS subjects FROM subjects WHERE controller = $1;

-- clear_strays --
-- State that belongs to no person: a subject that is gone, or a log's stand-in.
DELETE FROM consent_state s
WHERE s.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = s.controller AND x.subject = s.subject AND x.log IS NULL);

-- clear_stray_links --
-- The same for links.
DELETE FROM links l
WHERE l.controller = $1
    AND NOT EXISTS (SELECT FROM subjects x WHERE x.controller = l.controller AND x.subject = l.strong AND x.log IS NULL);
