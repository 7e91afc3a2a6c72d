// What a verified file says, for people: who, when, what happened, what they were told, how, and what the maker adds.
// Invariant: everything out of a file becomes a text node. No markup of a file is ever interpreted.
"use strict";

// An element with attributes of ours and children; a string becomes text.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const WORDS = {
  rendered: "How sure: the notice of Sayso was on the page, and the event carries its token.",
  captured: "How sure: an adapter on the page read these words off the screen.",
  matched: "How sure: the controller has tied what the page showed to this notice.",
  unverified: "How sure: nothing but the sender's word says that these words were shown.",
};

function asText(value) {
  if (value === null || value === undefined) return "";
  return isString(value) ? value : typeof value === "object" ? readable(value, "") : String(value);
}

// Indented lines: "name: value", without brackets and quotes.
function readable(value, indent) {
  return (Array.isArray(value) ? value.map((one) => ["-", one]) : Object.entries(value))
    .map(([name, one]) => {
      const label = Array.isArray(value) ? `${indent}-` : `${indent}${name}:`;
      const nested = one !== null && typeof one === "object";
      if (nested && Object.keys(one).length === 0) return `${label} (empty)`;
      return nested ? `${label}\n${readable(one, `${indent}  `)}` : `${label} ${one === null ? "none" : one}`;
    })
    .join("\n");
}

// Rows of term and description; those without a value are left out.
function facts(...rows) {
  const list = element("dl", { class: "facts" });
  for (const [term, value] of rows) {
    if (value === null || value === undefined || value === "") continue;
    list.append(element("dt", null, term), element("dd", null, isString(value) ? value : value));
  }
  return list;
}

function block(value) {
  return element("pre", { tabindex: "0" }, asText(value));
}

function table(caption, heads, rows) {
  return element(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    element(
      "table",
      null,
      element("caption", null, caption),
      element("thead", null, element("tr", null, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element(
        "tbody",
        null,
        ...rows.map((row) => element("tr", null, ...row.map((cell) => element("td", null, asText(cell))))),
      ),
    ),
  );
}

// --- one record ----------------------------------------------------------------------------------------------------------

const KEPT_BACK = "Kept back: this file holds only the digest of it.";

function section(title, ...children) {
  return element("section", null, element("h3", null, title), ...children);
}

function recordView(proof, times) {
  const entry = proof.entryRead;
  const what = proof.parts.get("what") || Object.create(null);
  const has = (name) => proof.parts.has(name);
  const who = proof.parts.get("who");
  const people = has("who") && Array.isArray(who.identifiers) ? who.identifiers : [];
  return element(
    "article",
    { class: "record" },
    element(
      "h2",
      null,
      `${asText(what.type) || entry.class} ${has("what") && what.site ? `on ${asText(what.site)}` : ""}`,
    ),
    section(
      "Who",
      !has("who")
        ? element("p", null, KEPT_BACK)
        : people.length === 0
          ? element("p", null, "Nobody is named.")
          : facts(
              ...people.map((one) =>
                isObject(one) ? [asText(one.type) || "identifier", asText(one.value)] : ["identifier", asText(one)],
              ),
              ["guardian", who.guardian ? block(who.guardian) : null],
            ),
    ),
    section(
      "When",
      facts(
        ["stated by the sender", asText(what.time)],
        ["received", asText(what.received_at)],
        ["in the log since", `${asText(entry.recorded_at)} (the minute)`],
        ...times.map((time) => ["seen by a timestamp authority", `${time.when} by ${time.name}`]),
      ),
    ),
    section("What happened", has("what") ? decisionsView(what) : element("p", null, KEPT_BACK)),
    section("What they were told", ...noticeView(proof, what)),
    section(
      "How",
      has("what")
        ? facts(
            ["posted by", asText(what.posted_by)],
            ...(isObject(what.capture)
              ? Object.entries(what.capture).map(([name, value]) => [name, asText(value)])
              : []),
            ["remarks of the service", Array.isArray(what.marks) ? what.marks.map(asText).join(", ") : ""],
          )
        : element("p", null, KEPT_BACK),
      has("context") ? block(proof.parts.get("context")) : null,
    ),
    element(
      "details",
      null,
      element("summary", null, "Its place in the log, and everything it says"),
      facts(
        ["event", proof.event],
        ["log", proof.origin],
        ["place", `${proof.index} of ${proof.checkpointRead.size}`],
        ["root of the log", hex(proof.checkpointRead.root)],
        ["digests of what is kept back", Object.keys(proof.digests).length ? block(proof.digests) : null],
      ),
      block({ entry, ...Object.fromEntries(proof.parts) }),
    ),
  );
}

function decisionsView(what) {
  const rows = Array.isArray(what.decisions) ? what.decisions.filter(isObject) : [];
  const rest = ["request", "erasure", "double_opt_in", "signals", "valid_until", "actor", "supersedes"].filter(
    (name) => name in what,
  );
  return element(
    "div",
    null,
    rows.length
      ? table(
          "Decisions",
          ["Purpose", "Decision", "Legal basis", "Services"],
          rows.map((one) => [
            one.purpose,
            one.decision,
            one.legal_basis,
            Array.isArray(one.services) ? one.services.map(asText).join(", ") : one.services,
          ]),
        )
      : element("p", null, asText(what.type)),
    facts(...rest.map((name) => [name, isObject(what[name]) ? block(what[name]) : asText(what[name])])),
  );
}

function noticeView(proof, what) {
  if (proof.notice === undefined) {
    return [
      element(
        "p",
        null,
        proof.entryRead.notice
          ? "The words are not in this file; the record names their SHA-256."
          : "The record names no words.",
      ),
    ];
  }
  let text = null;
  try {
    text = noticeText(readCanonical(utf8(proof.notice), "the notice", { controls: true }));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
  const sure = WORDS[asText(what.words)];
  return [
    sure ? element("p", null, sure) : null,
    element("blockquote", { tabindex: "0" }, text === null ? proof.notice : text),
  ];
}

// --- what the maker of the bundle adds -----------------------------------------------------------------------------------

const STATED = "as the maker of the bundle states; nobody's signature covers this";

function makerView(bundle) {
  const { report } = bundle;
  const shown = [];
  const state = isObject(report.state) ? report.state : null;
  if (state !== null && Array.isArray(state.decisions)) {
    shown.push(
      table(
        `Still valid at ${asText(state.at)}?`,
        ["Purpose", "Decision", "Valid", "Why not"],
        state.decisions
          .filter(isObject)
          .map((one) => [
            one.purpose,
            one.decision,
            one.valid === true ? "yes" : one.valid === false ? "no" : asText(one.valid),
            Array.isArray(one.reasons) ? one.reasons.map(asText).join(", ") : one.reasons,
          ]),
      ),
    );
  }
  if (isObject(report.controller)) shown.push(section("Controller", block(report.controller)));
  if (!shown.length) return null;
  return element(
    "article",
    { class: "stated" },
    element("h2", null, "Still valid? And who answers for it"),
    element("p", { class: "caution" }, `This part is ${STATED}.`),
    ...shown,
  );
}

function contentView(kind, content) {
  if (kind === "receipt") {
    return [
      element(
        "article",
        null,
        element("h2", null, "The receipt, as its issuer signed it"),
        block(Object.fromEntries(Object.entries(content.claims).filter(([name]) => name !== "proof"))),
      ),
      recordView(content.proof, []),
    ];
  }
  if (kind === "proof") return [recordView(content, [])];
  const erasure =
    content.report.erasure === undefined
      ? null
      : element(
          "article",
          null,
          element("h2", null, "Certificate of erasure, as the service signed it"),
          block(content.report.erasure),
        );
  return [
    erasure,
    ...[...content.proofs.values()].map((proof) => recordView(proof, proof.log.times)),
    makerView(content),
  ].filter((one) => one !== null);
}
