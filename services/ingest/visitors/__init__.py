"""Links that a site's server puts into e-mails: double opt-in by a one-time link, one-click withdrawal (RFC 8058)."""
