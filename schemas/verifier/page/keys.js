// Who may vouch: the keys of a log in time, and the policy of its witnesses. docs/bundle-format.md sections 5 and 7.
"use strict";

const KEYS_FORMAT = "sayso-keys/v1";
const KEYS_MAX = 4096;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z$/;

// {name, origin, keys} of a keys.json, every statement verified. A key has `fromSize` -1 where it signs from the first on.
async function readLogKeys(raw) {
  const document = readCanonical(raw, "keys.json", { controls: true });
  const { format, log, keys } = document;
  if (format !== KEYS_FORMAT || !hasMembers(document, ["format", "keys", "log"]))
    refuse("keys.json is not of this format");
  if (!hasMembers(log, ["name", "origin"]) || !isString(log.name) || !isString(log.origin))
    refuse("keys.json names no log");
  if (!Array.isArray(keys) || keys.length < 1 || keys.length > KEYS_MAX) refuse("keys.json lists no keys, or too many");
  const chain = [];
  for (const [at, members] of keys.entries()) chain.push(await readLogKey(members, at + 1, log.origin, chain[at - 1]));
  if (new Set(chain.map((key) => key.vkey)).size !== chain.length) refuse("one key stands twice in keys.json");
  return { name: log.name, origin: log.origin, keys: chain };
}

async function readLogKey(members, number, origin, before) {
  if (!hasMembers(members, ["ends_at", "made_at", "number", "statement", "vkey"]) || members.number !== number) {
    refuse("a key in keys.json has other members, or the keys are not numbered from 1 without a gap");
  }
  const isTime = (value) => isString(value) && TIME.test(value);
  if (!isTime(members.made_at) || !(members.ends_at === null || isTime(members.ends_at)))
    refuse("a time in keys.json is no time");
  const key = await parseVerifierKey(isString(members.vkey) ? members.vkey : "");
  if (key.type !== 1 || key.name !== origin) refuse("a key in keys.json is not an Ed25519 key under the log's origin");
  if (before === undefined) {
    return members.statement === null ? { ...key, fromSize: -1n } : refuse("the first key of a log has no statement");
  }
  if (!isString(members.statement)) refuse("nothing ties a key in keys.json to the key before");
  const fromSize = await readStatement(members.statement, number, before, key);
  return fromSize >= before.fromSize
    ? { ...key, fromSize }
    : refuse("a key in keys.json begins before the key before it");
}

// The statement is exactly what both keys sign; returns its from_size.
async function readStatement(note, number, before, key) {
  const opened = await openNote(note, [before, key]);
  const lines = opened.text.split("\n");
  const fromSize = decodeDecimal(lines[5] || "");
  const text = `sayso/log-key/v1\n${key.name}\n${number}\n${before.vkey}\n${key.vkey}\n${fromSize}\n`;
  if (fromSize === null || opened.text !== text) refuse("a key's statement is not the one that its log would make");
  if (opened.lines.length !== 2 || opened.signed[0] !== before || opened.signed[1] !== key) {
    refuse("a key's statement is not signed by the key before and the new key, and nobody else");
  }
  return fromSize;
}

// The keys that count for a checkpoint of this size.
function keysAt(logKeys, size) {
  return logKeys.keys.filter((key) => size > key.fromSize);
}

// --- the policy: C2SP tlog-policy --------------------------------------------------------------------------------------

// {logs: [key], witnesses: Map name -> key, groups: Map name -> {threshold, members}, quorum: name or null for none}
async function parsePolicy(raw) {
  const text = decodeUtf8(raw, "the policy");
  if (!text.endsWith("\n")) refuse("the policy does not end in a newline: it may have been cut");
  const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: undefined };
  const members = new Set(); // of some group: a name counts once
  for (const [at, line] of text.slice(0, -1).split("\n").entries()) {
    const bad = (why) => refuse(`line ${at + 1} of the policy ${why}`);
    // eslint-disable-next-line no-control-regex
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(line)) bad("holds a control character");
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0].startsWith("#")) continue;
    await readPolicyLine(policy, members, words, bad);
  }
  return policy.quorum === undefined ? refuse("the policy has no quorum line") : policy;
}

async function readPolicyLine(policy, members, [word, ...rest], bad) {
  const isDefined = (name) => policy.witnesses.has(name) || policy.groups.has(name);
  const define = (name) => (isDefined(name) || name === "none" ? bad("defines a name that is taken") : name);
  if (word === "log" && (rest.length === 1 || rest.length === 2)) {
    policy.logs.push(await policyKey(rest[0], [1], policy.logs, bad));
  } else if (word === "witness" && (rest.length === 2 || rest.length === 3)) {
    const key = await policyKey(rest[1], [4, 6], [...policy.witnesses.values()], bad);
    policy.witnesses.set(define(rest[0]), key);
  } else if (word === "group" && rest.length >= 3) {
    const [name, k, ...names] = rest;
    define(name);
    for (const member of names) {
      if (!isDefined(member) || members.has(member))
        bad("has a member that no line above defines, or that counts already");
      members.add(member);
    }
    const threshold = k === "all" ? names.length : k === "any" ? 1 : /^[1-9][0-9]{0,8}$/.test(k) ? Number(k) : 0;
    if (threshold < 1 || threshold > names.length) bad("does not say how many of its members it needs");
    policy.groups.set(name, { threshold, members: names });
  } else if (word === "quorum" && rest.length === 1) {
    if (policy.quorum !== undefined) bad("is a second quorum line");
    if (rest[0] !== "none" && !isDefined(rest[0])) bad("names what no line above defines");
    policy.quorum = rest[0] === "none" ? null : rest[0];
  } else bad("is none that a policy has");
}

async function policyKey(vkey, types, others, bad) {
  let key;
  try {
    key = await parseVerifierKey(vkey);
  } catch (error) {
    return error instanceof Refused ? bad(`holds a broken key: ${error.message}`) : bad("cannot be checked");
  }
  if (!types.includes(key.type)) bad("holds a key of another kind");
  return others.some((other) => equalBytes(other.publicKey, key.publicKey))
    ? bad("holds a public key that stands above")
    : key;
}

// Whether the quorum holds when these witnesses (names of the policy) have signed.
function isMet(policy, names) {
  // Members stand above their group, so one pass in order is enough.
  const counted = new Set(names);
  for (const [name, { threshold, members }] of policy.groups) {
    if (members.filter((member) => counted.has(member)).length >= threshold) counted.add(name);
  }
  return policy.quorum === null || counted.has(policy.quorum);
}
