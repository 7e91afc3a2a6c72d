-- People and their sessions. All but the first two run inside a controller's transaction.

-- find_session --
-- Whose session a cookie's hash names; runs with the owner's rights because the controller is not known yet.
SELECT controller, controller_name, person, role, expires_at, grant_id FROM find_session($1);

-- find_controller --
-- The number of a controller that somebody signs in to.
SELECT find_controller($1);

-- begin_session --
-- It ends after so long without use, or 12 hours after it began.
INSERT INTO sessions (controller, session, person, expires_at) VALUES ($1, $2, $3, now() + $4::interval);

-- forget_sessions --
-- What a person left of sessions that are over.
DELETE FROM sessions WHERE controller = $1 AND person = $2 AND (expires_at < now() OR ended_at IS NOT NULL);

-- prolong_session --
-- It was used.
UPDATE sessions SET expires_at = least(began_at + interval '12 hours', now() + $3::interval)
WHERE controller = $1 AND session = $2 AND ended_at IS NULL;

-- end_session --
-- Its person has signed out.
UPDATE sessions SET ended_at = now() WHERE controller = $1 AND session = $2 AND ended_at IS NULL;

-- person_of --
-- Who an identity is at this controller.
SELECT person, role FROM people
WHERE controller = $1 AND issuer = $2 AND subject_sha256 = $3 AND removed_at IS NULL;

-- invite --
-- Somebody who may sign in once the invitation was opened.
INSERT INTO people (controller, person, name, role) VALUES ($1, $2, $3, $4);

-- accept --
-- Whoever opened an invitation is from now on the person invited; an invitation is good for one.
UPDATE people SET issuer = $3, subject_sha256 = $4
WHERE controller = $1 AND person = $2 AND issuer IS NULL AND removed_at IS NULL;

-- name_of --
-- What colleagues call a person.
SELECT name FROM people WHERE controller = $1 AND person = $2;

-- people --
-- Everybody who may sign in or is invited.
SELECT person, name, role, added_at, issuer IS NOT NULL AS has_signed_in FROM people
WHERE controller = $1 AND removed_at IS NULL AND grant_id IS NULL ORDER BY added_at, person;

-- remove --
-- They open nothing any more; their name stays for the acts that it stands beside.
UPDATE people SET removed_at = now() WHERE controller = $1 AND person = $2 AND removed_at IS NULL AND grant_id IS NULL
RETURNING role;
