/** The dialog that makes an avatar from a photo. */

import { request } from "./api.js";

const MAX_BYTES = 32 * 1024 * 1024;
const find = (id) => document.getElementById(id);
const ERRORS = { photo: "photo-error", name: "name-error", consent: "consent-error" };

/** Wire the dialog; `onState` gets the engine's state once the avatar is there. */
export function setUpUpload(onState) {
  const dialog = find("upload");
  const form = find("upload-form");
  const file = find("photo");
  const drop = dialog.querySelector(".drop");
  const preview = find("photo-preview");
  const invitation = [...find("photo-text").childNodes];

  const show = (field, text) => {
    find(ERRORS[field]).textContent = text;
    const bad = Boolean(text);
    if (field === "photo") drop.parentElement.dataset.bad = bad;
    const input = { photo: file, name: find("photo-name"), consent: null }[field];
    input?.setAttribute("aria-invalid", bad);
  };
  const clear = () => Object.keys(ERRORS).forEach((field) => show(field, ""));

  const chosen = () => {
    const photo = file.files[0];
    show("photo", "");
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = !photo;
    if (!photo) {
      preview.removeAttribute("src");
      find("photo-text").replaceChildren(...invitation.map((node) => node.cloneNode(true)));
      return;
    }
    preview.src = URL.createObjectURL(photo);
    find("photo-text").textContent = photo.name;
    if (!find("photo-name").value) find("photo-name").value = nameFrom(photo.name);
  };
  preview.onerror = () => (preview.hidden = true);
  file.addEventListener("change", chosen);
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.dataset.over = true;
  });
  drop.addEventListener("dragleave", () => (drop.dataset.over = false));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.dataset.over = false;
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      chosen();
    }
  });

  find("upload-open").addEventListener("click", () => {
    form.reset();
    chosen();
    clear();
    dialog.showModal();
    file.focus();
  });
  find("upload-cancel").addEventListener("click", () => dialog.close());

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    const data = new FormData(form);
    const photo = file.files[0];
    const title = (data.get("title") ?? "").trim();
    const consent = data.get("consent");
    if (!photo) show("photo", "Choose a photo.");
    else if (photo.size > MAX_BYTES) show("photo", "This file is larger than 32 MB. Choose a smaller one.");
    if (!title) show("name", "Give the avatar a name.");
    if (!consent) show("consent", "Say who is in the photo.");
    const missing = !photo || photo.size > MAX_BYTES ? file : !title ? find("photo-name") : !consent ? form.elements.consent[0] : null;
    if (missing) return missing.focus();

    const body = new FormData();
    body.append("name", slug(title));
    body.append("title", title);
    body.append("consent", consent);
    body.append("photo", photo);
    const send = find("upload-send");
    send.disabled = true;
    send.textContent = "Making the avatar …";
    form.setAttribute("aria-busy", "true");
    try {
      const state = await request("POST", "/api/avatars", { form: body, timeout: 60000 });
      dialog.close();
      onState(state);
    } catch (error) {
      const field = fieldOf(error);
      show(field, error.message);
      ({ photo: file, name: find("photo-name"), consent: form.elements.consent[0] })[field].focus();
    } finally {
      send.disabled = false;
      send.textContent = "Make the avatar";
      form.removeAttribute("aria-busy");
    }
  });
}

/** Where an error belongs: one with a code is about the photo, the others name what they are about. */
function fieldOf({ code, message }) {
  if (code) return "photo";
  if (/consent/i.test(message)) return "consent";
  return /\bnames?\b|\btitle\b/i.test(message) ? "name" : "photo";
}

function nameFrom(fileName) {
  const stem = fileName.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").trim();
  // Cameras number their files; such a name says nothing.
  return /^[A-Za-z]{2,}[A-Za-z ]*$/.test(stem) && !/^(img|dsc|image|photo|screenshot)\b/i.test(stem) ? stem.slice(0, 40) : "";
}

/** A name that is safe as a folder: letters, digits and hyphens. */
export function slug(title) {
  const plain = title.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || `avatar-${Date.now().toString(36)}`;
}
