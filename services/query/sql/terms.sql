-- Terms of a controller. Every statement runs inside its transaction, and names it for the index.

-- terms_now --
-- What the controller states, and since when.
SELECT content, stated_at FROM terms WHERE controller = $1 ORDER BY stated_at DESC LIMIT 1;

-- terms_at --
-- What it had stated by a moment.
SELECT content FROM terms WHERE controller = $1 AND stated_at <= $2 ORDER BY stated_at DESC LIMIT 1;

-- state_terms --
-- State them anew; what was stated before stays for what began under it.
INSERT INTO terms (controller, content, stated_by) VALUES ($1, $2, $3);
