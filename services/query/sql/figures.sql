-- What query asks about figures. Every statement runs inside a controller's transaction.

-- counts --
-- Every count up to a day, series by series in the order of the days. What was shown or told has no purpose.
SELECT day, site, purpose, notice, language, act, count
FROM figures
WHERE controller = $1 AND day <= $2 AND ($3::text IS NULL OR site = $3)
    AND ($4::text IS NULL OR purpose = $4 OR (purpose = '' AND act IN ('shown', 'told')))
ORDER BY site, purpose, notice, language, act, day;

-- notice_names --
-- What the hashes of notices are called, and those that were matched to one.
SELECT DISTINCT ON (named.shown) encode(named.shown, 'hex') AS notice, body ->> 'notice_id' AS notice_id,
       body ->> 'version' AS version
FROM (
    SELECT notice AS shown, notice FROM notices WHERE controller = $1
    UNION ALL
    SELECT shown, notice FROM notice_matches WHERE controller = $1
) named
JOIN notices n ON n.controller = $1 AND n.notice = named.notice
CROSS JOIN LATERAL (SELECT convert_from(n.content, 'UTF8')::jsonb AS body) j
ORDER BY named.shown;

-- terms --
-- What the controller stated last; here the smallest count that is shown.
SELECT content FROM terms WHERE controller = $1 ORDER BY stated_at DESC LIMIT 1;
