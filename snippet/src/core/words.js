// The words on the screen, and their hash. The text stays in the page; schemas/captured.py names it the same way.

import { config, languageTag } from "./config.js";
import { hex } from "./ids.js";
import { sha256 } from "./sha256.js";

/** @typedef {{sha256: string, language: string, text?: string}} Words */

/**
 * The visible text nodes in document order, or the lines of a text: whitespace collapsed, empty ones dropped, one a line, NFC.
 * @param {Element | ShadowRoot | string} source @param {string} [language] @returns {Words}
 */
export function capture(source, language) {
  const lines = typeof source === "string" ? source.split("\n") : visible(source);
  const text = lines.map((line) => line.replace(/\s+/g, " ").trim()).filter(Boolean).join("\n").normalize("NFC");
  const spoken = languageTag(language || source.closest?.("[lang]")?.lang || config.language);
  return { sha256: hex(sha256(`sayso/captured/v1\n${spoken}\n${text}`)), language: spoken, text };
}

/** @param {Node} root */
function visible(root) {
  const lines = [];
  const range = document.createRange();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    range.selectNodeContents(node);
    const parent = node.parentElement;
    if (range.getClientRects().length && (!parent || getComputedStyle(parent).visibility === "visible")) lines.push(node.data);
  }
  return lines;
}
