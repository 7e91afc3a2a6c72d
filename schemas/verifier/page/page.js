// The page itself: takes files by drop or by choice, shows the verdict, the steps and what was read. Sends nothing.
"use strict";

const FILE_MAX = ARCHIVE_MAX;
const TITLES = { verified: "Verified", notes: "Verified, with notes", failed: "NOT VERIFIED" };
const ADVICE = {
  verified: "Every step held, under what you gave as trusted.",
  notes:
    "Every step held. The steps marked “Note” say what you should know, above all which keys were taken from the file itself.",
  failed: "Do not rely on this file. Its contents are not shown.",
};
const OUTCOMES = { ok: "OK", remark: "Note", failed: "FAILED" };
const FIELDS = ["vkeys", "policy", "roots", "jwks"];

const page = { file: null, turn: 0 };

function byId(id) {
  return document.getElementById(id);
}

function show(verdict, title, advice) {
  const box = byId("verdict");
  box.className = verdict;
  box.replaceChildren(element("strong", null, title), element("span", null, advice));
}

function clear() {
  byId("steps").replaceChildren();
  byId("content").replaceChildren();
  byId("result").hidden = false;
}

async function verifyChosen() {
  if (page.file === null) return;
  // A later file, or a later wish, is the one that counts.
  page.turn += 1;
  const turn = page.turn;
  clear();
  show("busy", "Verifying …", page.file.name);
  let result;
  try {
    if (page.file.size > FILE_MAX) throw new Unusable("The file is larger than any that can be verified here.");
    const bytes = new Uint8Array(await page.file.arrayBuffer());
    const given = Object.fromEntries(FIELDS.map((name) => [name, byId(name).value]));
    result = await saysoVerify(bytes, given);
  } catch (error) {
    const said =
      error instanceof Unusable || error instanceof Refused ? error.message : `The file cannot be read (${error}).`;
    if (turn === page.turn) show("failed", TITLES.failed, said);
    return;
  }
  if (turn === page.turn) showResult(result);
}

function showResult({ kind, steps, content }) {
  const verdict = verdictOf(steps);
  const failed = steps.find((step) => step.outcome === "failed");
  show(
    verdict,
    TITLES[verdict],
    failed ? `Step ${failed.number} (${failed.name}) failed. ${ADVICE.failed}` : ADVICE[verdict],
  );
  byId("steps").replaceChildren(
    ...steps.map((step) =>
      element(
        "li",
        { class: step.outcome },
        element("span", { class: "outcome" }, OUTCOMES[step.outcome]),
        " ",
        element("strong", null, step.name),
        element("span", { class: "said" }, step.said.join("\n")),
      ),
    ),
  );
  if (verdict !== "failed") byId("content").replaceChildren(...contentView(kind, content));
}

function choose(files) {
  if (files.length === 0) return;
  [page.file] = files;
  verifyChosen();
}

function start() {
  byId("file").addEventListener("change", (event) => choose(event.target.files));
  byId("again").addEventListener("click", verifyChosen);
  // A file dropped anywhere is verified; none is ever opened by the browser.
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") choose(event.dataTransfer.files);
    });
  }
  const missing = !(globalThis.crypto && globalThis.crypto.subtle) || typeof DecompressionStream === "undefined";
  if (missing) {
    byId("result").hidden = false;
    show(
      "failed",
      TITLES.failed,
      "This browser lacks WebCrypto or decompression: nothing can be verified with it. Use a current browser, or verify.py.",
    );
  }
}

start();
