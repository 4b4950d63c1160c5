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

function tile({ name, title }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  const picture = document.createElement("img");
  picture.src = `avatars/${encodeURIComponent(name)}/thumb.jpg`;
  picture.alt = "";
  picture.width = picture.height = 76;
  button.append(picture, title);
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
