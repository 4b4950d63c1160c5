/** The page before a session: it shows the avatars, begins a session and goes there. */

import { request } from "./api.js";

const status = document.getElementById("status");
const list = document.getElementById("avatars");

function say(text, kind) {
  status.textContent = text;
  status.dataset.kind = kind;
}

async function begin(avatar) {
  say("Beginning a session …", "wait");
  for (const button of list.children) button.disabled = true;
  try {
    const { page } = await request("POST", "sessions", { json: { avatar }, timeout: 120000 });
    location.href = page;
  } catch (error) {
    say(error.message, "off");
    for (const button of list.children) button.disabled = false;
  }
}

function make(tag, fields, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

function tile({ name, title }) {
  const picture = make("img", { src: `avatars/${encodeURIComponent(name)}/thumb.jpg`, alt: "", width: 76, height: 76 });
  const inside = [make("span", { className: "tile" }, picture), make("span", { className: "name", textContent: title })];
  const button = make("button", { type: "button", className: "face choose" }, ...inside);
  button.addEventListener("click", () => begin(name));
  return button;
}

try {
  const { avatars, room } = await request("GET", "choices");
  list.replaceChildren(...avatars.map(tile));
  if (room) say("Ready", "live");
  else say("No session can be taken now; try again later", "off");
} catch (error) {
  say(error.message, "off");
}
