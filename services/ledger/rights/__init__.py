"""What records other than consents change: requests, holds, restrictions, accounts. One projector a kind of event."""
