/** The dialog that learns how the user's own head moves. */

import { request } from "./api.js";
import { clock } from "./controls.js";
import { openTrack } from "./devices.js";

const find = (id) => document.getElementById(id);
const STEPS = ["intro", "record", "learn", "done"];
const POLL_MS = 250;

/**
 * Wire the dialog and its button.
 * `peer` sends the tracks, `mine` holds those that the page sends already, `hush(on)` silences the avatar here,
 * `lendCamera` and `returnCamera` free the engine's own camera meanwhile, and `onChange` is told when another head may be in use. Returns `draw`, which shows what the engine's state says.
 */
export function setUpCalibration({ peer, mine, hush, lendCamera, returnCamera, onChange }) {
  const dialog = find("calibrate");
  let state = null;
  let status = null;
  let timer = 0;
  /** The tracks opened for this recording only; those in use before go on afterwards. */
  let opened = {};
  let lent = false;
  /** The part that is read, counted from what the reader clicked last: [part, seconds of speech at that time]. */
  let reading = [0, 0];
  let shown = -2;

  // --- what is shown -----------------------------------------------------------------------------------------------

  function step(name) {
    for (const one of STEPS) find(`calibrate-${one}`).hidden = one !== name;
  }

  function fail(text) {
    find("calibrate-error").textContent = text;
    find("calibrate-done-error").textContent = text;
  }

  function draw(next) {
    if (!next) return;
    state = next;
    find("own-head-label").textContent = !state.kept ? "Learn my head" : state.used ? "Moves like me" : "My own head is off";
    find("calibrate-kept").hidden = !state.kept;
    find("calibrate-delete").hidden = find("calibrate-swap").hidden = !state.kept;
    find("calibrate-start").textContent = state.kept ? "I agree, learn again" : "I agree, start";
    if (!state.kept) return;
    const when = new Date(state.made);
    const date = Number.isNaN(when.valueOf()) ? "" : ` on ${when.toLocaleDateString(undefined, { dateStyle: "long" })}`;
    const use = state.used ? "It is in use." : "The default is in use.";
    find("calibrate-kept").textContent = state.fault || `Learnt${date}. ${state.words} ${use}`;
    find("calibrate-swap").textContent = state.used ? "Use the default" : "Use mine";
    find("calibrate-swap").disabled = Boolean(state.fault) && !state.used;
    dialog.querySelector(`input[name="own"][value="${state.used ? "mine" : "default"}"]`).checked = true;
  }

  function fillText() {
    const box = find("calibrate-text");
    const parts = [status.relax, ...status.text.map((part) => part.text)];
    box.replaceChildren(
      ...parts.map((text, index) => {
        const line = Object.assign(document.createElement("p"), { textContent: text });
        line.addEventListener("click", () => {
          reading = [Math.max(0, index - 1), status.speech];
          follow();
        });
        return line;
      }),
    );
    box.scrollTop = 0;
    reading = [0, 0];
    shown = -2;
  }

  /** Mark the part that is being read: it goes on with the voice, so that a pause or a cough does not lose the place. */
  function follow() {
    let [part, heard] = reading;
    heard = status.speech - heard;
    if (status.seconds < status.relax_seconds && status.speech < 1) part = -1;
    else {
      while (part < status.text.length - 1 && heard > status.text[part].speech) {
        heard -= status.text[part].speech;
        part += 1;
      }
    }
    if (part === shown) return;
    shown = part;
    const lines = [...find("calibrate-text").children];
    lines.forEach((line, index) => (index === part + 1 ? line.setAttribute("aria-current", "true") : line.removeAttribute("aria-current")));
    const box = find("calibrate-text");
    const line = lines[part + 1];
    // What was just read stays in sight where there is room.
    box.scrollTop = line.offsetTop - Math.max(0, Math.min(0.2 * box.clientHeight, (box.clientHeight - line.offsetHeight) / 3));
  }

  function drawRecording() {
    follow();
    find("seen-face").dataset.on = status.face && !status.company;
    find("seen-voice").dataset.on = status.voice;
    const hint = find("calibrate-hint");
    if (hint.textContent !== status.hint) hint.textContent = status.hint;
    find("calibrate-progress").value = Math.min(1, status.seconds / status.wanted);
    find("calibrate-left").textContent = `${clock(Math.max(0, status.wanted - status.seconds))} left`;
    find("calibrate-speech").textContent = `${clock(status.speech)} of speech heard`;
    find("calibrate-enough").disabled = status.seconds < status.least_seconds || status.speech < status.least_speech;
  }

  function drawLearning() {
    const [done, of] = status.learnt;
    const bar = find("calibrate-learning");
    if (of > 0) bar.value = done / of;
    else bar.removeAttribute("value");
  }

  function drawDone() {
    const h = status.habits;
    find("calibrate-words").textContent = status.words;
    find("calibrate-figures").textContent =
      `${clock(h.speech_seconds)} of speech in ${clock(h.seconds)}; the face was seen ${Math.round(100 * h.face_share)} % of the time. ` +
      `Learnt in ${Math.round(status.learn_s)} seconds.`;
    dialog.querySelector('input[name="own"][value="mine"]').checked = true;
    find("calibrate-finish").focus();
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  async function poll() {
    clearTimeout(timer);
    try {
      status = await request("GET", "api/calibration");
    } catch (error) {
      release();
      step("intro");
      fail(error.message);
      return;
    }
    switch (status.state) {
      case "recording":
        drawRecording();
        break;
      case "learning":
        release();
        step("learn");
        drawLearning();
        break;
      case "done":
        release();
        step("done");
        drawDone();
        onChange();
        return;
      default:
        release();
        step("intro");
        fail(status.error);
        onChange();
        return;
    }
    timer = setTimeout(poll, POLL_MS);
  }

  async function open() {
    fail("");
    dialog.showModal();
    step("intro");
    find("calibrate-start").focus();
  }

  async function start() {
    const button = find("calibrate-start");
    fail("");
    button.disabled = true;
    try {
      if (!peer.id) throw new Error("There is no connection to the engine yet. Try again when the picture moves.");
      lent = await lendCamera();
      const tracks = {};
      for (const kind of ["audio", "video"]) {
        tracks[kind] = mine[kind];
        if (tracks[kind]) continue;
        tracks[kind] = opened[kind] = await openTrack(kind);
        await peer.send(kind, opened[kind]);
      }
      hush(true);
      status = await request("POST", "api/calibration", { json: { consent: true, peer: peer.id } });
      const preview = find("calibrate-preview");
      preview.srcObject = new MediaStream([tracks.video]);
      preview.play().catch(() => {});
      fillText();
      step("record");
      find("calibrate-text").focus({ preventScroll: true });
      poll();
    } catch (error) {
      release();
      fail(error.message);
    } finally {
      button.disabled = false;
    }
  }

  /** Give back what was opened for the recording. */
  function release() {
    hush(false);
    find("calibrate-preview").srcObject = null;
    for (const [kind, track] of Object.entries(opened)) {
      track.stop();
      // Switched on in the page meanwhile: then it is the page's to stop.
      if (!mine[kind]) peer.send(kind, null);
    }
    opened = {};
    if (lent) returnCamera();
    lent = false;
  }

  async function stop(keep) {
    try {
      await request("POST", "api/calibration/stop", { json: { keep } });
      if (keep) return;
      clearTimeout(timer);
      release();
      step("intro");
    } catch (error) {
      fail(error.message);
    }
  }

  async function change(method, json) {
    fail("");
    try {
      draw((await request(method, "api/calibration", { json })).own_head);
      onChange();
      return true;
    } catch (error) {
      fail(error.message);
      return false;
    }
  }

  async function forget() {
    if (await change("DELETE")) step("intro");
  }

  find("own-head").addEventListener("click", open);
  find("calibrate-start").addEventListener("click", start);
  find("calibrate-close").addEventListener("click", () => dialog.close());
  find("calibrate-finish").addEventListener("click", () => dialog.close());
  find("calibrate-stop").addEventListener("click", () => stop(false));
  find("calibrate-abort").addEventListener("click", () => stop(false));
  find("calibrate-enough").addEventListener("click", () => stop(true));
  find("calibrate-swap").addEventListener("click", () => change("PATCH", { use: !state.used }));
  find("calibrate-delete").addEventListener("click", forget);
  find("calibrate-forget").addEventListener("click", forget);
  for (const input of dialog.querySelectorAll('input[name="own"]')) {
    input.addEventListener("change", () => change("PATCH", { use: input.value === "mine" && input.checked }));
  }
  // Escape during a recording: as the button that keeps nothing.
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    if (status && (status.state === "recording" || status.state === "learning")) stop(false);
    status = null;
  });
  return { draw };
}
