// Strict JSON: docs/proof-format.md section 1, docs/bundle-format.md section 4.
// Invariant: what is read has exactly one spelling, writeJson's; whoever wants exactly that compares it with the bytes.
"use strict";

const STRICT_LEVELS = 16;
const BUNDLE_LEVELS = 32;
const INTEGER_MAX = 2 ** 53 - 1;

// A recursive reader of one JSON value. Objects have no prototype, so that no member name means anything.
class JsonReader {
  constructor(text, levels, controls) {
    this.text = text;
    this.at = 0;
    this.levels = levels;
    this.controls = controls;
  }

  whole() {
    const value = this.value(0);
    this.space();
    return this.at === this.text.length ? value : this.bad();
  }

  bad(why = "not JSON") {
    return refuse(why);
  }

  space() {
    while (" \t\n\r".includes(this.text[this.at] || "x")) this.at += 1;
  }

  take(character) {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  value(level) {
    this.space();
    const next = this.text[this.at];
    if (next === "{" || next === "[") {
      if (level === this.levels) this.bad("nested too deep");
      this.at += 1;
      return next === "{" ? this.object(level + 1) : this.array(level + 1);
    }
    if (next === '"') return this.string();
    for (const [word, value] of [
      ["true", true],
      ["false", false],
      ["null", null],
    ]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  object(level) {
    const members = Object.create(null);
    if (this.take("}")) return members;
    do {
      this.space();
      const name = this.string();
      if (name in members) this.bad("a member stands twice in one object");
      // Below U+E000, code points and UTF-16 code units sort alike.
      if (/[\ue000-\uffff\ud800-\udfff]/.test(name)) this.bad("a member name is beyond U+DFFF");
      if (!this.take(":")) this.bad();
      members[name] = this.value(level);
    } while (this.take(","));
    return this.take("}") ? members : this.bad();
  }

  array(level) {
    const items = [];
    if (this.take("]")) return items;
    do items.push(this.value(level));
    while (this.take(","));
    return this.take("]") ? items : this.bad();
  }

  string() {
    // In pieces: one expression over megabytes would exhaust the engine's stack.
    // eslint-disable-next-line no-control-regex
    const piece = /(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,4096}/y;
    const begin = this.at;
    let end = begin + 1;
    for (piece.lastIndex = end; piece.test(this.text); end = piece.lastIndex);
    if (this.text[begin] !== '"' || this.text[end] !== '"') return this.bad();
    this.at = end + 1;
    const text = JSON.parse(this.text.slice(begin, this.at)); // checked above: only its escapes are left to resolve
    if (/\p{Cs}/u.test(text)) this.bad("a string holds a lone surrogate");
    // eslint-disable-next-line no-control-regex
    if (!this.controls && /[\u0000-\u001f\u007f-\u009f]/.test(text)) this.bad("a string holds a control character");
    return text;
  }

  number() {
    const pattern = /-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null || found[0] === "-0") return this.bad("not JSON, or a number that is no plain integer");
    this.at = pattern.lastIndex;
    const number = Number(found[0]);
    return Math.abs(number) <= INTEGER_MAX ? number : this.bad("a number is beyond 2^53 - 1");
  }
}

function readJson(raw, what, { levels = STRICT_LEVELS, controls = false } = {}) {
  const text = decodeUtf8(raw, what);
  try {
    return new JsonReader(text, levels, controls).whole();
  } catch (error) {
    if (error instanceof Refused) refuse(`${what} is not strict JSON: ${error.message}`);
    throw error;
  }
}

// RFC 8785. Strings are as JSON.stringify writes them, once lone surrogates are out.
function writeJson(value) {
  if (Array.isArray(value)) return `[${value.map(writeJson).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const names = Object.keys(value).sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${writeJson(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

// A JSON object spelt canonically.
function readCanonical(raw, what, profile) {
  const value = readJson(raw, what, profile);
  return isObject(value) && equalBytes(utf8(writeJson(value)), raw)
    ? value
    : refuse(`${what} is not a canonical JSON object`);
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// Whether an object has all of `names`, perhaps some of `optional`, and nothing else.
function hasMembers(value, names, optional = []) {
  return (
    isObject(value) &&
    names.every((name) => name in value) &&
    Object.keys(value).every((name) => names.includes(name) || optional.includes(name))
  );
}
