-- Retention as query sees it: rules stated, runs asked for. Inside the controller's transaction; it is named for the index.

-- rules_now --
-- The latest statement of each rule; without content it was ended.
SELECT DISTINCT ON (rule) rule, content, stated_at, stated_by FROM retention_rules
WHERE controller = $1 ORDER BY rule, stated_at DESC;

-- rule_history --
-- Every statement of one rule, the latest first.
SELECT content, stated_at, stated_by FROM retention_rules WHERE controller = $1 AND rule = $2 ORDER BY stated_at DESC;

-- state_rule --
-- A rule, or with no content its end; nothing if the latest says exactly this.
INSERT INTO retention_rules (controller, rule, content, stated_by)
SELECT $1, $2, $3, $4
WHERE $3::bytea IS DISTINCT FROM (
    SELECT content FROM retention_rules WHERE controller = $1 AND rule = $2 ORDER BY stated_at DESC LIMIT 1
)
RETURNING rule;

-- ask_run --
-- A run or a preview for the ledger to do, by the rules as they stand now; one of the same kind that waits will do.
WITH waiting AS (
    SELECT run FROM retention_runs
    WHERE controller = $1 AND is_preview = $4 AND asked_by <> 'ledger' AND finished_at IS NULL AND progress IS NULL
    LIMIT 1
), asked AS (
    INSERT INTO retention_runs (controller, run, asked_by, as_of, is_preview)
    SELECT $1, $2, $3, clock_timestamp(), $4 WHERE NOT EXISTS (SELECT FROM waiting)
    RETURNING run
)
SELECT run FROM asked UNION ALL SELECT run FROM waiting;

-- run --
-- One run.
SELECT run, asked_by, asked_at, as_of, is_preview, finished_at, progress IS NOT NULL AS has_begun, counts, cleared
FROM retention_runs WHERE controller = $1 AND run = $2;

-- runs --
-- The latest runs, without previews.
SELECT run, asked_by, asked_at, as_of, is_preview, finished_at, progress IS NOT NULL AS has_begun, counts, cleared
FROM retention_runs WHERE controller = $1 AND NOT is_preview ORDER BY asked_at DESC, run LIMIT $2;

-- last_preview --
-- The latest preview that is done.
SELECT run, asked_by, asked_at, as_of, is_preview, finished_at, progress IS NOT NULL AS has_begun, counts, cleared
FROM retention_runs WHERE controller = $1 AND is_preview AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1;

-- deletion --
-- When a person's account was deleted at the site, unless it was restored since.
SELECT deleted_at FROM account_deletions
WHERE controller = $1 AND subject = $2 AND deleted_at IS NOT NULL AND (restored_at IS NULL OR restored_at < deleted_at);

-- withdrawn --
-- Since when no answer of a person to a purpose permits anything.
SELECT purpose, max(rank) AS since FROM consent_state
WHERE controller = $1 AND subject = $2
GROUP BY purpose
HAVING bool_and(decision IN ('denied', 'objected'))
ORDER BY purpose;
