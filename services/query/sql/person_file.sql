-- What a person's file holds besides records and decisions. Every statement runs inside a controller's transaction.

-- owner --
-- Whose file it is.
SELECT name, legal_name, contact FROM controllers WHERE controller = $1;

-- linked_of --
-- Links of some subjects to others, in the order in which they were made; whom else they name is not said.
SELECT state, acted_at, strong = ANY ($2::uuid[]) AS as_stronger, weak = ANY ($2::uuid[]) AS as_weaker
FROM links WHERE controller = $1 AND (strong = ANY ($2::uuid[]) OR weak = ANY ($2::uuid[])) ORDER BY acted_at, event, nth;

-- ages_of --
-- What was said of the age: over or under, never a date of birth.
SELECT is_over, stated_at FROM ages WHERE controller = $1 AND subject = ANY ($2::uuid[]) ORDER BY stated_at, event;

-- restrictions_of --
-- Processing that is or was restricted.
SELECT purpose, since, lifted_at FROM restrictions WHERE controller = $1 AND subject = ANY ($2::uuid[])
ORDER BY since, purpose;

-- holds_of --
-- Holds that the person may be told of.
SELECT ground, placed_at, expires_at, released_at FROM holds
WHERE controller = $1 AND subject = ANY ($2::uuid[]) AND NOT is_confidential ORDER BY placed_at, hold;

-- recipients --
-- Other systems that data of the controller's people go to (Art. 15(1)(c)), with the services whose data each holds; none
-- named is of all.
SELECT system, services, tells FROM downstreams WHERE controller = $1 AND removed_at IS NULL ORDER BY system;

-- triggers_of --
-- Which other systems were told what, and what they answered (Art. 19).
SELECT system, action, purpose, made_at, answered_at, outcome, reason FROM triggers
WHERE controller = $1 AND subject = ANY ($2::uuid[]) ORDER BY made_at, trigger;

-- account_of --
-- Whether the account was deleted, and restored.
SELECT deleted_at, restored_at FROM account_deletions WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- erasures_asked_of --
-- Erasures that were asked for and have not happened.
SELECT asked_at FROM erasure_asks WHERE controller = $1 AND subject = ANY ($2::uuid[]) ORDER BY asked_at;

-- names_of --
-- Under how many keyed names the person is found.
SELECT count(*) AS names FROM identifiers WHERE controller = $1 AND subject = ANY ($2::uuid[]);

-- letters_of --
-- Messages that name the person and could not be recorded: sealed, and kept for 30 days.
SELECT reason, set_aside_at FROM dead_letters
WHERE controller = $1 AND identifiers && ARRAY(
    SELECT identifier FROM identifiers WHERE controller = $1 AND subject = ANY ($2::uuid[]))
ORDER BY letter;
