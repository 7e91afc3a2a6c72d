"""One change a line that a database superuser can make, and where fsck must see it (tests/fault/test_tampering.py).

The log is tests.support.sample_log: 582 records in `shop`; record 20 is one subject's only one, 3 names the notice.
What is from outside or left by erasures is in `blog`, 25 records (tests.fault.outside).
"""

from typing import NamedTuple
from uuid import UUID

from schemas.merkle import HASH_BYTES


class Damage(NamedTuple):
    """One change: its name, its statement, and the table and place that must be named; a place may be a SELECT.

    `also`: tables that may show it too, because the change contradicts them and nothing tells which is right.
    """

    name: str
    statement: str
    table: str
    where: str
    also: frozenset[str]


def _damage(name: str, statement: str, table: str, where: str, *also: str) -> Damage:
    return Damage(name, statement, table, where, frozenset(also))


def _flip(column: str, byte: int) -> str:
    return f"{column} = set_byte({column}, {byte}, get_byte({column}, {byte}) # 1)"


SHOP = "log = (SELECT log FROM logs WHERE name = 'shop')"
_ROW_20 = f"{SHOP} AND index = 20"
_ROW_25 = f"{SHOP} AND index = 25"
_ROW_40 = f"{SHOP} AND index = 40"
_SIZE_291 = f"{SHOP} AND size = 291"
_SIZE_582 = f"{SHOP} AND size = 582"
_TILE_1 = f"{SHOP} AND (level, tile) = (0, 1)"
_LAST_TILE = f"{SHOP} AND (level, tile) = (0, 2)"
_UPPER_TILE = f"{SHOP} AND level = 1"
BLOG = "log = (SELECT log FROM logs WHERE name = 'blog')"
_SIZE_25 = f"{BLOG} AND size = 25"
_ERASED_1 = "(SELECT subject FROM spare.erasures WHERE number = 1)"
_FROM_SHOP = "FROM logs WHERE name = 'shop'"
_WHO_20 = f"(SELECT subject FROM payloads WHERE {_ROW_20})"
_NAME_20 = f"SELECT 'subject ' || subject FROM spare.payloads WHERE {_ROW_20}"
_NOBODY = UUID(int=7)
_STAND_IN = f"SELECT 'subject ' || subject FROM subjects WHERE {SHOP}"
_NOTICE = "SELECT 'notice ' || encode(notice, 'hex') || ', site shop.example' FROM notices"
_SHOWN = "SELECT 'shown ' || encode(shown, 'hex') FROM notice_matches"
_X16 = "substr(sha256('x'), 1, 16)"


def _set(table: str, change: str, row: str) -> str:
    return f"UPDATE {table} SET {change} WHERE {row}"


# Byte 45 lies in the commitment, which the payload contradicts as well.
_ENTRIES = [
    _damage(
        f"entry-{index}-byte-{byte}",
        _set("records", _flip("entry", byte), f"{SHOP} AND index = {index}"),
        "records",
        f"index {index}",
        *(["payloads"] if byte == 45 else []),
    )
    for index in (0, 255, 581)
    for byte in (3, 45, 130, 200, 290)
]
_HASHES = [
    _damage(
        f"tile-{level}-{tile}-offset-{offset}",
        _set("tiles", _flip("hashes", offset * HASH_BYTES + 31), f"{SHOP} AND (level, tile) = ({level}, {tile})"),
        "tiles",
        f"level {level}, tile {tile}, offset {offset}",
    )
    for level, tile, offset in ((0, 0, 0), (0, 0, 255), (0, 1, 7), (0, 2, 69), (1, 0, 0), (1, 0, 1))
]
_TILES = [
    _damage("tile-gone", f"DELETE FROM tiles WHERE {_TILE_1}", "tiles", "level 0, tile 1"),
    _damage("last-tile-gone", f"DELETE FROM tiles WHERE {_LAST_TILE}", "tiles", "level 0, tile 2"),
    _damage("upper-tile-gone", f"DELETE FROM tiles WHERE {_UPPER_TILE}", "tiles", "level 1, tile 0"),
    _damage("tile-cut", _set("tiles", "hashes = substr(hashes, 1, 8160)", _TILE_1), "tiles", "level 0, tile 1"),
    _damage("tile-wider", _set("tiles", "hashes = hashes || sha256('x')", _LAST_TILE), "tiles", "level 0, tile 2"),
    _damage("upper-wider", _set("tiles", "hashes = hashes || sha256('x')", _UPPER_TILE), "tiles", "level 1, tile 0"),
    _damage(
        "tile-on-a-level-too-high",
        f"INSERT INTO tiles SELECT controller, log, 2, 0, sha256('x') {_FROM_SHOP}",
        "tiles",
        "level 2, tile 0",
    ),
    _damage(
        "upper-tile-too-many",
        f"INSERT INTO tiles SELECT controller, log, 1, 1, sha256('x') {_FROM_SHOP}",
        "tiles",
        "level 1, tile 1",
    ),
]
_RECORDS = [
    *(
        _damage(
            f"record-{index}-gone",
            f"DELETE FROM records WHERE {SHOP} AND index = {index}",
            "records",
            f"index {index}",
            "payloads",
            "dedupe",
        )
        for index in (0, 255, 300, 581)
    ),
    _damage(
        "record-too-many",
        f"INSERT INTO records SELECT controller, log, 582, entry FROM records WHERE {SHOP} AND index = 581",
        "records",
        "index 582",
        "dedupe",
    ),
    _damage(
        "record-gone-payload-left",
        f"DELETE FROM records WHERE {SHOP} AND index = 301",
        "payloads",
        "index 301",
        "records",
        "dedupe",
    ),
    _damage(
        "record-below-zero",
        f"INSERT INTO records SELECT controller, log, -1, entry FROM records WHERE {SHOP} AND index = 0",
        "records",
        "index -1",
        "dedupe",
    ),
    _damage(
        "record-far-away",
        _set("records", "index = 1::bigint << 40", f"{SHOP} AND index = 300"),
        "records",
        "index 300",
        "payloads",
        "dedupe",
    ),
    _damage(
        "entries-swapped",
        f"UPDATE records r SET entry = o.entry FROM spare.records o WHERE r.{SHOP} AND r.index IN (100, 101)"
        " AND o.log = r.log AND o.index = 201 - r.index",
        "records",
        "index 100",
        "payloads",
    ),
]
_PAYLOADS = [
    *(
        _damage(f"payload-{part}", _set("payloads", _flip(part, 11), _ROW_20), "payloads", f"index 20, part {part}")
        for part in ("who", "what", "context")
    ),
    _damage("nonce", _set("payloads", _flip("nonce", 10), _ROW_20), "payloads", "index 20, part who"),
    _damage("payload-moved", _set("payloads", "index = 900", _ROW_20), "payloads", "index 900", "dedupe"),
    _damage("part-gone", _set("payloads", "who = NULL", _ROW_20), "payloads", "index 20, part who"),
    _damage(
        "part-gone-with-a-digest",
        _set("payloads", "context = NULL, context_digest = sha256('x')", _ROW_20),
        "payloads",
        "index 20",
    ),
    _damage(
        "digest-of-a-part", _set("payloads", "who_digest = sha256('x')", _ROW_20), "payloads", "index 20, part who"
    ),
    *(
        _damage(
            f"payload-{index}-gone",
            f"DELETE FROM payloads WHERE {SHOP} AND index = {index}",
            "payloads",
            f"index {index}",
            "dedupe",
            "consent_state",
            "identifiers",
        )
        for index in (20, 579)
    ),
    _damage(
        "payload-of-no-record",
        "INSERT INTO payloads (controller, log, index, subject, nonce)"
        f" SELECT controller, log, 582, subject, nonce FROM payloads WHERE {_ROW_20}",
        "payloads",
        "index 582",
    ),
    _damage(
        "payloads-swapped",
        "UPDATE payloads p SET who = o.who, what = o.what, context = o.context FROM spare.payloads o"
        f" WHERE p.{SHOP} AND p.index IN (100, 105) AND o.log = p.log AND o.index = 205 - p.index",
        "payloads",
        "index 105, part what",
    ),
    _damage(
        "subject-of-another",
        _set("payloads", f"subject = (SELECT subject FROM payloads WHERE {_ROW_25})", _ROW_20),
        "payloads",
        "index 20, part what",
        "consent_state",
        "identifiers",
    ),
    _damage(
        "subject-unknown",
        _set("payloads", f"subject = '{_NOBODY}'", _ROW_20),
        "payloads",
        "index 20",
        "consent_state",
        "identifiers",
    ),
    _damage(
        "subject-gone",
        f"DELETE FROM subjects WHERE subject = {_WHO_20}",
        "payloads",
        "index 20",
        "consent_state",
        "identifiers",
    ),
    _damage("wrapped-key", _set("subjects", _flip("wrapped_key", 39), f"subject = {_WHO_20}"), "subjects", _NAME_20),
    _damage("key-epoch", _set("subjects", "key_epoch = key_epoch + 1", f"subject = {_WHO_20}"), "subjects", _NAME_20),
]
_DEDUPE = [
    _damage("dedupe-index", _set("dedupe", "index = 41", _ROW_40), "dedupe", "index 40"),
    _damage(
        "dedupe-log", _set("dedupe", "log = (SELECT log FROM logs WHERE name = 'blog')", _ROW_40), "dedupe", "index 40"
    ),
    _damage(
        "dedupe-swapped",
        f"UPDATE dedupe SET index = 81 - index WHERE {SHOP} AND index IN (40, 41)",
        "dedupe",
        "index 40",
    ),
    _damage("dedupe-event", _set("dedupe", _flip("event", 15), _ROW_40), "dedupe", "index 40"),
    _damage("dedupe-erased", _set("dedupe", "content = NULL", _ROW_40), "dedupe", "index 40"),
    _damage(
        "dedupe-later",
        _set("dedupe", "received_at = received_at + '1us'", _ROW_40),
        "dedupe",
        "index 40",
        "consent_state",
    ),
    _damage("dedupe-gone", f"DELETE FROM dedupe WHERE {_ROW_40}", "dedupe", "index 40"),
    _damage(
        "dedupe-of-no-record",
        f"INSERT INTO dedupe (controller, event, log, index) SELECT controller, {_X16}, log, 582 {_FROM_SHOP}",
        "dedupe",
        "index 582",
    ),
]
_PROJECTED = [
    _damage("identifier", _set("identifiers", _flip("identifier", 0), f"subject = {_WHO_20}"), "identifiers", _NAME_20),
    _damage("identifier-gone", f"DELETE FROM identifiers WHERE subject = {_WHO_20}", "identifiers", _NAME_20),
    _damage(
        "identifier-of-nobody",
        _set("identifiers", f"subject = '{_NOBODY}'", f"subject = {_WHO_20}"),
        "identifiers",
        f"subject {_NOBODY}",
    ),
    _damage(
        "identifier-too-many",
        f"INSERT INTO identifiers SELECT controller, {_X16}, subject FROM payloads WHERE {_ROW_20}",
        "identifiers",
        _NAME_20,
    ),
    _damage(
        "state-decision",
        _set("consent_state", "decision = 'denied'", f"decision = 'granted' AND subject = {_WHO_20}"),
        "consent_state",
        _NAME_20,
    ),
    _damage(
        "state-rank", _set("consent_state", "rank = rank + '1us'", f"subject = {_WHO_20}"), "consent_state", _NAME_20
    ),
    _damage("state-event", _set("consent_state", _flip("event", 3), f"subject = {_WHO_20}"), "consent_state", _NAME_20),
    _damage("state-gone", f"DELETE FROM consent_state WHERE subject = {_WHO_20}", "consent_state", _NAME_20),
    _damage(
        "state-of-nobody",
        _set("consent_state", f"subject = '{_NOBODY}'", f"subject = {_WHO_20}"),
        "consent_state",
        f"subject {_NOBODY}",
    ),
    _damage(
        "state-of-a-stand-in",
        "INSERT INTO consent_state SELECT controller, subject, 'p', 'consent', 'granted', now(), 'x'"
        f" FROM subjects WHERE {SHOP}",
        "consent_state",
        _STAND_IN,
    ),
]
_SIGNED = [
    _damage(
        "note-text",
        _set("checkpoints", "note = overlay(note placing 'X' from 3)", _SIZE_291),
        "checkpoints",
        "size 291",
    ),
    _damage(
        "note-signature",
        _set(
            "checkpoints",
            "note = overlay(note placing CASE substr(note, length(note) - 9, 1) WHEN 'x' THEN 'y' ELSE 'x' END"
            " from length(note) - 9)",
            _SIZE_291,
        ),
        "checkpoints",
        "size 291",
    ),
    _damage(
        "note-of-another-size",
        _set("checkpoints", f"note = (SELECT note FROM checkpoints WHERE {SHOP} AND size = 194)", _SIZE_291),
        "checkpoints",
        "size 291",
    ),
    _damage("checkpoint-root", _set("checkpoints", _flip("root", 31), _SIZE_291), "checkpoints", "size 291"),
    _damage("checkpoint-size", _set("checkpoints", "size = 292", _SIZE_291), "checkpoints", "size 292"),
    _damage("checkpoint-beyond", _set("checkpoints", "size = 583", _SIZE_582), "checkpoints", "size 583", "log_heads"),
    _damage("first-checkpoint-gone", f"DELETE FROM checkpoints WHERE {SHOP} AND size = 0", "checkpoints", "size 0"),
    _damage("last-checkpoint-gone", f"DELETE FROM checkpoints WHERE {_SIZE_582}", "log_heads", "signed_size"),
    _damage("vkey", _set("logs", "vkey = replace(vkey, '+', '+0')", "name = 'shop'"), "logs", "vkey"),
    _damage("vkey-gone", _set("logs", "vkey = NULL", "name = 'shop'"), "logs", "vkey"),
]
_HEADS = [
    _damage("head-root", _set("log_heads", _flip("root", 0), SHOP), "log_heads", "root"),
    _damage("head-prev", _set("log_heads", _flip("prev", 0), SHOP), "log_heads", "prev"),
    _damage("head-larger", _set("log_heads", "size = size + 1", SHOP), "log_heads", "size"),
    _damage(
        "head-smaller",
        _set("log_heads", "size = 581, signed_size = 581, published_size = 581", SHOP),
        "log_heads",
        "size",
    ),
    _damage(
        "head-signed-size",
        _set("log_heads", "signed_size = 485, published_size = 485", SHOP),
        "log_heads",
        "signed_size",
    ),
    _damage("head-minute", _set("log_heads", "recorded_at = recorded_at + '1min'", SHOP), "log_heads", "recorded_at"),
    _damage("head-gone", f"DELETE FROM log_heads WHERE {SHOP}", "log_heads", "row"),
]
_OF_THE_CONTROLLER = [
    _damage(
        "bound-elsewhere", "UPDATE deployment SET high_water_id = gen_random_uuid()", "deployment", "high_water_id"
    ),
    _damage("notice-content", _set("notices", _flip("content", 40), "true"), "notices", _NOTICE),
    _damage("notice-name", _set("notices", _flip("notice", 0), "true"), "notices", _NOTICE, "records"),
    _damage("notice-language", _set("notices", "language = 'de'", "true"), "notices", _NOTICE),
    _damage("notice-gone", "DELETE FROM notices", "records", "index 3"),
    _damage(
        "match-of-no-notice",
        "INSERT INTO notice_matches SELECT controller, sha256('x'), sha256('y') FROM controllers",
        "notice_matches",
        _SHOWN,
    ),
]
_WITNESS = "size 25, witness witness.example/w1"
_TIMESTAMP = "SELECT 'size 25, number ' || seq FROM spare.timestamps"
_FROM_OUTSIDE = [
    _damage(
        "first-key",
        _set("log_keys", "vkey = replace(vkey, '+', '+0')", f"{BLOG} AND number = 1"),
        "log_keys",
        "number 1",
    ),
    _damage("first-key-gone", f"DELETE FROM log_keys WHERE {SHOP}", "log_keys", "number 1"),
    _damage("last-key-gone", f"DELETE FROM log_keys WHERE {BLOG} AND number = 2", "log_keys", "number 1"),
    _damage("key-number", _set("log_keys", "number = 3", f"{BLOG} AND number = 2"), "log_keys", "number 3"),
    _damage(
        "key-statement",
        _set(
            "log_keys",
            "statement = replace(statement, 'blog.example', 'blog.exomple') || ' '",
            f"{BLOG} AND number = 2",
        ),
        "log_keys",
        "number 2",
        "checkpoints",
    ),
    _damage(
        "key-of-another-log",
        _set("log_keys", "reference = 'file:shop.key'", f"{BLOG} AND number = 2"),
        "log_keys",
        "number 2",
    ),
    _damage(
        "key-that-no-statement-introduces",
        _set(
            "log_keys",
            "reference = 'file:blog.key', vkey = (SELECT vkey FROM logs WHERE name = 'blog')",
            f"{BLOG} AND number = 2",
        ),
        "log_keys",
        "number 2",
    ),
    _damage("key-without-end", _set("log_keys", "ends_at = NULL", f"{BLOG} AND number = 1"), "log_keys", "number 1"),
    _damage(
        "signature-of-the-newest-key-gone",
        _set("checkpoints", r"note = regexp_replace(note, '[^\n]*\n$', '')", _SIZE_25),
        "checkpoints",
        "size 25",
        "cosignatures",
        "timestamps",
    ),
    _damage(
        "cosignature",
        _set("cosignatures", "line = overlay(line placing 'AAAA' from 50)", "true"),
        "cosignatures",
        _WITNESS,
    ),
    _damage("cosignature-not-a-line", _set("cosignatures", "line = 'x' || line", "true"), "cosignatures", _WITNESS),
    _damage("cosignature-key", _set("cosignatures", _flip("key_id", 0), "true"), "cosignatures", _WITNESS),
    _damage(
        "cosignature-time",
        _set("cosignatures", "cosigned_at = cosigned_at - interval '1s'", "true"),
        "cosignatures",
        _WITNESS,
    ),
    _damage(
        "cosignature-of-nothing",
        _set("cosignatures", "size = 7", "true"),
        "cosignatures",
        "size 7, witness witness.example/w1",
    ),
    _damage(
        "cosignature-of-another-size",
        _set("cosignatures", "size = 0", "true"),
        "cosignatures",
        "size 0, witness witness.example/w1",
    ),
    _damage(
        "cosignature-of-another-witness",
        _set("cosignatures", "witness = 'witness.example/w2'", "true"),
        "cosignatures",
        "size 25, witness witness.example/w2",
    ),
    *(
        _damage(f"timestamp-byte-{byte}", _set("timestamps", _flip("response", byte), "true"), "timestamps", _TIMESTAMP)
        for byte in (0, 12, 120, 400)
    ),
    _damage("timestamp-nonce", _set("timestamps", _flip("nonce", 7), "true"), "timestamps", _TIMESTAMP),
    _damage(
        "timestamp-time", _set("timestamps", "gen_time = gen_time - interval '1s'", "true"), "timestamps", _TIMESTAMP
    ),
    _damage("timestamp-authority", _set("timestamps", "authority = 'another'", "true"), "timestamps", _TIMESTAMP),
    _damage("timestamp-verifier", _set("timestamps", "verified_by = 'openssl'", "true"), "timestamps", _TIMESTAMP),
    _damage(
        "timestamp-of-another-size",
        _set("timestamps", "size = 0", "true"),
        "timestamps",
        "SELECT 'size 0, number ' || seq FROM spare.timestamps",
    ),
    _damage(
        "timestamp-of-nothing",
        _set("timestamps", "size = 7", "true"),
        "timestamps",
        "SELECT 'size 7, number ' || seq FROM spare.timestamps",
    ),
    _damage(
        "wish-for-nothing",
        f"INSERT INTO timestamp_wishes SELECT controller, log, 7 {_FROM_SHOP}",
        "timestamp_wishes",
        "size 7",
    ),
    _damage("shown-size", _set("log_heads", "published_size = 290", SHOP), "log_heads", "published_size"),
    _damage(
        "follows-another",
        _set("logs", "predecessor = log, follows_size = 0, follows_root = sha256('')", "name = 'shop'"),
        "logs",
        "follows",
    ),
]
_PROOF = f"{BLOG} AND index = 21"
_DROPPED = "SELECT 'event ' || encode(event, 'hex') FROM spare.dedupe WHERE index IS NULL"
_BACK = f"SELECT 'subject ' || {_ERASED_1}"
_ERASURES = [
    *(
        _damage(f"proof-{column}", _set("minimal_proofs", _flip(column, byte), _PROOF), "minimal_proofs", "index 21")
        for column, byte in (("what", 40), ("nonce", 0), ("who_digest", 31), ("context_digest", 0))
    ),
    _damage("proof-of-no-erasure", _set("minimal_proofs", "number = 9", _PROOF), "minimal_proofs", "index 21"),
    _damage("proof-moved", _set("minimal_proofs", "index = 20", _PROOF), "minimal_proofs", "index 20", "payloads"),
    _damage(
        "proof-of-no-record", _set("minimal_proofs", "index = 99", _PROOF), "minimal_proofs", "index 99", "payloads"
    ),
    _damage(
        "proof-of-the-living", _set("minimal_proofs", "index = 24", _PROOF), "minimal_proofs", "index 24", "payloads"
    ),
    _damage("proof-gone", f"DELETE FROM minimal_proofs WHERE {_PROOF}", "payloads", "index 20"),
    *(
        _damage(f"erasure-{name}", _set("erasures", change, "number = 1"), "erasures", "erasure 1")
        for name, change in (
            ("subject", "subject = gen_random_uuid()"),
            ("event", _flip("event", 0)),
            ("ground", "ground = '17(1)(c)'"),
            ("time", "erased_at = erased_at - interval '1us'"),
        )
    ),
    _damage(
        "erasure-gone",
        "DELETE FROM erasures WHERE number = 1",
        "erased_parts",
        "erasure 1",
        "dockets",
        # Only once the erasure is older than one that may still be on its way.
        "erasures",
    ),
    _damage(
        "erasure-unknown",
        _set("erasures", "number = 9", "number = 2"),
        "suppression",
        "erasure 9",
        "erasures",
        "erased_parts",
        "dockets",
        "minimal_proofs",
    ),
    _damage("parts-count", _set("erased_parts", "who = who + 1", "number = 1"), "erased_parts", "index 22", "payloads"),
    _damage("parts-gone", "DELETE FROM erased_parts WHERE number = 1", "erased_parts", "index 22"),
    _damage(
        "parts-undeclared",
        _set("erased_parts", "declared_log = NULL, declared_index = NULL", "number = 1"),
        "erased_parts",
        "erasure 1",
        "payloads",
    ),
    _damage(
        "parts-stated-by-no-erasure",
        _set("erased_parts", "declared_index = 3", "number = 1"),
        "erased_parts",
        "index 3",
        "payloads",
    ),
    _damage(
        "parts-stated-nowhere",
        _set("erased_parts", "declared_index = 99", "number = 1"),
        "erased_parts",
        "index 99",
        "payloads",
    ),
    _damage(
        "parts-of-another-erasure",
        "UPDATE erased_parts SET declared_index = 45 - declared_index, what = 1 - what",
        "erased_parts",
        "index 22",
        "payloads",
    ),
    _damage(
        "tombstone-ended",
        _set("tombstones", "expires_at = erased_at", "true"),
        "tombstones",
        "SELECT 'identifier ' || encode(identifier, 'hex') FROM spare.tombstones ORDER BY identifier LIMIT 1",
    ),
    _damage(
        "tombstone-of-the-living",
        "INSERT INTO tombstones SELECT controller, identifier, now(), now() + '1d' FROM identifiers"
        f" WHERE subject = {_WHO_20}",
        "tombstones",
        _NAME_20,
    ),
    _damage("docket", _set("dockets", _flip("sealed", 30), "docket = 1"), "dockets", "docket 1"),
    _damage("docket-key", _set("dockets", _flip("wrapped_key", 3), "docket = 1"), "dockets", "docket 1"),
    _damage("docket-epoch", _set("dockets", "key_epoch = key_epoch + 1", "docket = 1"), "dockets", "docket 1"),
    _damage("docket-number", _set("dockets", "docket = 9", "docket = 1"), "dockets", "docket 9"),
    _damage(
        "dropped-with-content", _set("dedupe", f"content = {_X16}", f"{BLOG} AND index IS NULL"), "dedupe", _DROPPED
    ),
    _damage(
        "dropped-with-time", _set("dedupe", "received_at = now()", f"{BLOG} AND index IS NULL"), "dedupe", _DROPPED
    ),
    _damage("erased-with-content", _set("dedupe", f"content = {_X16}", f"{BLOG} AND index = 20"), "dedupe", "index 20"),
    _damage("erased-with-time", _set("dedupe", "received_at = now()", f"{BLOG} AND index = 20"), "dedupe", "index 20"),
    _damage(
        "erased-with-both",
        _set("dedupe", f"content = {_X16}, received_at = now()", f"{BLOG} AND index = 20"),
        "dedupe",
        "index 20",
    ),
    _damage(
        "subject-is-back",
        "INSERT INTO subjects (controller, subject, wrapped_key, key_epoch)"
        f" SELECT controller, {_ERASED_1}, wrapped_key, key_epoch FROM subjects WHERE subject = {_WHO_20}",
        "subjects",
        _BACK,
    ),
    _damage(
        "state-is-back",
        f"INSERT INTO consent_state SELECT controller, {_ERASED_1}, 'p', 'consent', 'granted', now(), 'x'"
        " FROM controllers",
        "consent_state",
        _BACK,
    ),
    _damage(
        "identifier-is-back",
        f"INSERT INTO identifiers SELECT controller, {_X16}, {_ERASED_1} FROM controllers",
        "identifiers",
        _BACK,
    ),
]
DAMAGES = [
    *_ENTRIES,
    *_HASHES,
    *_TILES,
    *_RECORDS,
    *_PAYLOADS,
    *_DEDUPE,
    *_PROJECTED,
    *_SIGNED,
    *_HEADS,
    *_OF_THE_CONTROLLER,
    *_FROM_OUTSIDE,
    *_ERASURES,
]
