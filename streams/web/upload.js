/** The dialog that makes an avatar from a photo. */

import { request } from "./api.js";

const MAX_BYTES = 32 * 1024 * 1024;
const find = (id) => document.getElementById(id);
const ERRORS = { photo: "photo-error", smile: "smile-error", name: "name-error", consent: "consent-error" };
const GRADES = { good: "good", fair: "could be better", poor: "poor" };

/** Wire the dialog; `onState` gets the engine's state once the avatar is there. */
export function setUpUpload(onState) {
  const dialog = find("upload");
  const form = find("upload-form");
  const file = find("photo");
  const second = find("smile");

  const show = (field, text) => {
    find(ERRORS[field]).textContent = text;
    const bad = Boolean(text);
    const input = { photo: file, smile: second, name: find("photo-name"), consent: null }[field];
    if (input?.type === "file") input.parentElement.dataset.bad = bad;
    input?.setAttribute("aria-invalid", bad);
  };
  const clear = () => Object.keys(ERRORS).forEach((field) => show(field, ""));
  const chosen = setUpFile(file, (photo) => {
    show("photo", "");
    if (photo && !find("photo-name").value) find("photo-name").value = nameFrom(photo.name);
  });
  const smileChosen = setUpFile(second, () => show("smile", ""));

  find("upload-open").addEventListener("click", () => {
    form.reset();
    chosen();
    smileChosen();
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
    const smile = second.files[0];
    if (smile && (photo?.size ?? 0) + smile.size > MAX_BYTES) show("smile", "Both photos are larger than 32 MB. Choose smaller ones.");
    if (!title) show("name", "Give the avatar a name.");
    if (!consent) show("consent", "Say who is in the photo.");
    const missing = !photo || photo.size > MAX_BYTES ? file : find("smile-error").textContent ? second : !title ? find("photo-name") : !consent ? form.elements.consent[0] : null;
    if (missing) return missing.focus();

    const body = new FormData();
    body.append("name", slug(title));
    body.append("title", title);
    body.append("consent", consent);
    body.append("photo", photo);
    if (smile) body.append("smile", smile);
    const send = find("upload-send");
    send.disabled = true;
    send.textContent = "Making the avatar …";
    form.setAttribute("aria-busy", "true");
    try {
      const { report, ...state } = await request("POST", "api/avatars", { form: body, timeout: 60000 });
      dialog.close();
      onState(state);
      showReport(report ?? []);
    } catch (error) {
      const field = fieldOf(error);
      show(field, error.message);
      ({ photo: file, smile: second, name: find("photo-name"), consent: form.elements.consent[0] })[field].focus();
    } finally {
      send.disabled = false;
      send.textContent = "Make the avatar";
      form.removeAttribute("aria-busy");
    }
  });
}

/** A file field with its preview, its drop area and its text; returns what to call when another file is in it. */
function setUpFile(input, onChange) {
  const drop = input.parentElement.querySelector(".drop");
  const preview = drop.querySelector("img");
  const text = drop.querySelector("span");
  const invitation = [...text.childNodes];
  const chosen = () => {
    const photo = input.files[0];
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = !photo;
    if (photo) {
      preview.src = URL.createObjectURL(photo);
      text.textContent = photo.name;
    } else {
      preview.removeAttribute("src");
      text.replaceChildren(...invitation.map((node) => node.cloneNode(true)));
    }
    onChange(photo);
  };
  preview.onerror = () => (preview.hidden = true);
  input.addEventListener("change", chosen);
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.dataset.over = true;
  });
  drop.addEventListener("dragleave", () => (drop.dataset.over = false));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.dataset.over = false;
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      chosen();
    }
  });
  return chosen;
}

/** What the engine says of the photo, point by point. */
function showReport(findings) {
  if (!findings.length) return;
  const lines = findings.flatMap(({ name, grade, text }) => {
    const term = document.createElement("dt");
    term.textContent = name[0].toUpperCase() + name.slice(1);
    term.dataset.grade = grade;
    term.title = GRADES[grade] ?? grade;
    const said = document.createElement("dd");
    said.textContent = text;
    return [term, said];
  });
  find("report-lines").replaceChildren(...lines);
  find("photo-report").showModal();
}

/** Where an error belongs: one with a code is about a photo, the others name what they are about. */
function fieldOf({ code, message }) {
  if (code) return /smile photo/i.test(message) ? "smile" : "photo";
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
