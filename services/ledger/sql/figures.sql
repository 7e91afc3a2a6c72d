-- Statements of figures. Like all of the ledger's they name the controller; it bypasses row-level security.

-- add_figures --
-- Add to the counts; the rows are few, each is written once a batch.
INSERT INTO figures AS f (controller, day, site, purpose, notice, language, act, count)
SELECT $1, day::date, site, purpose, notice, language, act, count
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])
    AS new (day, site, purpose, notice, language, act, count)
ON CONFLICT (controller, day, site, purpose, notice, language, act) DO UPDATE SET count = f.count + excluded.count;
