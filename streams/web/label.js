/** Checks the signed label that comes with the picture (avatar/trust/signed_label.py). */

import { request } from "./api.js";

const WORDS = { self: "the pictured person agreed", licensed: "a licence allows it", synthetic: "nobody real is pictured" };

/** Check a label's message against the engine's public key and against the connection that it came by.
 *
 * Resolves to { state, text, facts }: state is "valid", "invalid" or "unchecked" (no cryptography on a page that came
 * without TLS from another machine, or by a browser without Ed25519). */
export async function checkLabel({ message, sdp }) {
  if (!globalThis.crypto?.subtle) return { state: "unchecked", text: "The label cannot be checked on a page without TLS." };
  let key;
  try {
    const { key: raw, alg } = await request("GET", "api/label");
    key = { alg, value: await crypto.subtle.importKey("raw", bytes(raw), { name: alg }, false, ["verify"]) };
  } catch {
    return { state: "unchecked", text: "This browser cannot check the label." };
  }
  try {
    const { payload, signature, alg } = JSON.parse(message);
    const right = alg === key.alg && (await crypto.subtle.verify(alg, key.value, bytes(signature), new TextEncoder().encode(payload)));
    const facts = JSON.parse(payload);
    // What the browser holds the other end to must be what the label was made for.
    const held = [...sdp.matchAll(/^a=fingerprint:(\S+ \S+)/gm)].map(([, print]) => print.toLowerCase());
    const named = facts.fingerprints.map((print) => print.toLowerCase());
    const ours = held.length > 0 && held.every((print) => named.includes(print));
    if (!right || !ours) return { state: "invalid", text: "The label's signature is NOT right: do not trust this picture." };
    return { state: "valid", text: words(facts), facts };
  } catch {
    return { state: "invalid", text: "The label cannot be read: do not trust this picture." };
  }
}

function words(facts) {
  const off = facts.badge.startsWith("none") ? ` The badge in the picture was taken off: ${facts.badge.slice(6)}.` : "";
  return `AI-generated, not a recording of a person; its label's signature is right. Session ${facts.session}; ${WORDS[facts.consent.kind]}.${off}`;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}
