-- What every service asks about the suppression file, with its owner's rights: numbers belong to no controller.

-- missing_erasures --
-- Which of these numbers the database lacks, of controllers that it has; it must lack none.
SELECT number FROM missing_erasures($1::bigint[], $2::text[]) AS number;
