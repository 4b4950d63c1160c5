/** The page: wires the controls to the engine and keeps both in step. */

import { Changes, Events, request } from "./api.js";
import { clock, drawAvatars, drawBackgrounds, drawEngines, drawSlider, meter, press, say, status } from "./controls.js";
import { openTrack } from "./devices.js";
import { EmotionPlane } from "./emotion.js";
import { checkLabel } from "./label.js";
import { ReceiverStats } from "./meters.js";
import { Peer } from "./peer.js";
import { setUpCalibration } from "./calibrate.js";
import { setUpUpload } from "./upload.js";

const find = (id) => document.getElementById(id);
const video = find("avatar");
/** The sliders whose ids are the names of settings. */
const SLIDERS = ["head", "gaze", "jaw", "lips"];

const events = new Events();
export const peer = new Peer();
const changes = new Changes(draw);
const stats = new ReceiverStats();
const plane = new EmotionPlane(change, (field) => changes.holds(field));

let state = null;
let engineMeters = null;
/** The tracks that this page sends; null = off. */
const mine = { audio: null, video: null };
let soundWanted = true;
let recordingSince = 0;
/** The events stopped, and it is not yet sure whether the engine still knows this page. */
let lost = false;
let lossTimer = 0;
const LOST = "Connection lost, trying again …";
/** Until when a text is spoken, on `performance.now()`. */
let speakingUntil = 0;
let faults = "";
const ELSEWHERE = "The microphone of another page is on. Press Demo voice to take over.";

// --- what the engine says ------------------------------------------------------------------------------------------

/** Show a state; a field that the user is changing at this moment stays as the user left it. */
function draw(next) {
  state = next;
  const current = state.avatars.find((one) => one.name === state.avatar);
  find("title").textContent = current?.title ?? state.avatar;
  find("version").textContent = state.version;
  if (current) find("poster").src = `api/avatars/${encodeURIComponent(current.name)}/thumb.jpg`;
  if (!changes.holds("avatar")) drawAvatars(state.avatars, state.avatar);
  if (!changes.holds("engine")) drawEngines(state.engines, state.engine);
  if (!changes.holds("background")) drawBackgrounds(state.backgrounds, state.background);
  plane.draw(state);
  for (const field of SLIDERS) if (!changes.holds(field)) drawSlider(find(field), state[field]);
  if (!changes.holds("source")) {
    press(find("demo"), state.source === "demo");
    press(find("microphone"), mine.audio);
    const elsewhere = state.source === "page" && !mine.audio;
    if (elsewhere) say(ELSEWHERE, "info");
    else if (find("note").textContent === ELSEWHERE) say("");
    // Another page has taken over. (While a text is spoken the source is only lent.)
    if (mine.audio && state.source !== "page" && peer.connected && !lost && performance.now() > speakingUntil) stop("audio");
  }
  if (!changes.holds("camera")) {
    press(find("camera"), state.camera && mine.video);
    if (mine.video && !state.camera && peer.connected && !lost) stop("video");
  }
  calibration.draw(state.own_head);
  drawRecording();
  const now = (state.faults ?? []).join(" ");
  if (now !== faults) say((faults = now));
}

function refresh() {
  return request("GET", "api/state").then(draw);
}

/** Send a change; a refusal is shown and the controls go back to what holds. */
async function change(fields) {
  try {
    await changes.push(fields);
    return true;
  } catch (error) {
    say(error.message);
    if (state) draw(state);
    return false;
  }
}

events.addEventListener("open", async () => {
  clearTimeout(lossTimer);
  refresh().catch((error) => say(error.message));
  if (!lost) return;
  // The events came back. Where the engine was restarted the picture does not, and ICE would notice seconds later.
  if (await moving()) status("live", "Live");
  else await peer.open();
  lost = false;
});
events.addEventListener("lost", () => {
  if (lost) return;
  lost = true;
  lossTimer = setTimeout(() => status("off", LOST), 1000);
});
events.addEventListener("message", ({ detail }) => {
  const { type, ...rest } = detail;
  if (type === "meters") {
    engineMeters = rest;
    plane.felt(rest.felt);
  } else if (type === "state") draw(rest);
  else if (type === "end" && !rest.again) {
    events.close();
    peer.close();
    status("off", "The session has ended");
    say(`The session has ended: ${rest.reason}. Another one begins on the first page.`);
  }
});

/** Whether pictures arrive. */
async function moving() {
  const frames = async () => (peer.connection ? (await stats.read(peer.connection)).frames : 0);
  const before = await frames();
  await new Promise((resolve) => setTimeout(resolve, 700));
  return (await frames()) > before;
}

// --- picture and sound ---------------------------------------------------------------------------------------------

peer.addEventListener("stream", ({ detail }) => {
  if (video.srcObject === detail) return;
  video.srcObject = detail;
  play();
});
peer.addEventListener("waiting", () => {
  find("screen").dataset.live = "false";
  status("off", LOST);
});
find("kept-open").addEventListener("click", () => find("kept").showModal());
peer.addEventListener("label", async ({ detail }) => {
  const { state: signature, text } = await checkLabel(detail);
  const badge = find("badge");
  badge.dataset.signature = signature;
  badge.title = text;
  find("badge-text").textContent = text;
  if (signature === "invalid") say(text);
});
peer.addEventListener("connected", () => {
  if (mine.audio) change({ source: "page", peer: peer.id });
  if (mine.video) change({ camera: true, peer: peer.id });
});
video.addEventListener("playing", () => {
  find("screen").dataset.live = "true";
  status("live", "Live");
});

/** Play with sound where the browser lets us, else without until the user asks for it. */
async function play() {
  video.muted = !soundWanted;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return; // A newer stream has taken over.
    video.muted = true;
    await video.play().catch(() => {});
  }
  drawSound();
}

function drawSound() {
  find("unmute").hidden = !(video.muted && soundWanted);
  press(find("sound"), !video.muted);
}

find("unmute").addEventListener("click", () => {
  soundWanted = true;
  play();
  find("sound").focus({ preventScroll: true });
});
find("sound").addEventListener("click", () => {
  soundWanted = video.muted;
  play();
});

// --- who speaks ----------------------------------------------------------------------------------------------------

find("demo").addEventListener("click", () => {
  say("");
  change({ source: state?.source === "demo" ? "silence" : "demo" });
});
find("microphone").addEventListener("click", () => toggle("audio", find("microphone")));
find("camera").addEventListener("click", () => toggle("video", find("camera")));

const GONE = {
  audio: "The microphone went away. Connect it and press the button again.",
  video: "The camera went away. Connect it and press the button again.",
};
const ON = { audio: () => ({ source: "page", peer: peer.id }), video: () => ({ camera: true, peer: peer.id }) };
const OFF = { audio: { source: "silence" }, video: { camera: false } };

async function toggle(kind, button) {
  if (find("note").dataset.kind === "error") say("");
  if (mine[kind]) {
    stop(kind);
    await change(OFF[kind]);
    return;
  }
  button.setAttribute("aria-busy", "true");
  try {
    if (!peer.id) throw new Error("There is no connection to the engine yet. Try again when the picture moves.");
    const track = await openTrack(kind);
    track.addEventListener("ended", () => {
      stop(kind);
      say(GONE[kind]);
      change(OFF[kind]);
    });
    mine[kind] = track;
    await peer.send(kind, track);
    if (kind === "video") showPreview(track);
    if (!(await change(ON[kind]()))) stop(kind);
    else if (kind === "audio") say("You speak now. With headphones your own voice does not come back.", "info");
  } catch (error) {
    stop(kind);
    say(error.message);
  } finally {
    button.removeAttribute("aria-busy");
    if (state) draw(state);
  }
}

function stop(kind) {
  mine[kind]?.stop();
  mine[kind] = null;
  peer.send(kind, null);
  if (kind === "video") showPreview(null);
  if (kind === "audio" && find("note").dataset.kind === "info") say("");
}

function showPreview(track) {
  const preview = find("preview");
  preview.srcObject = track ? new MediaStream([track]) : null;
  preview.hidden = !track;
  if (track) preview.play().catch(() => {});
}

find("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = find("say-text");
  const text = input.value.trim();
  if (!text) return input.focus();
  say("");
  try {
    speakingUntil = Infinity;
    const answer = await request("POST", "api/say", { json: { text } });
    speakingUntil = performance.now() + 1000 * ((answer?.seconds ?? 5) + 2);
    input.select();
  } catch (error) {
    speakingUntil = 0;
    say(error.message);
  }
});

// --- face and expression -------------------------------------------------------------------------------------------

find("avatars").addEventListener("change", async ({ target }) => {
  // Preparing a face takes the engine a moment, while the old one speaks on.
  const tile = target.closest("label");
  tile.setAttribute("aria-busy", "true");
  await change({ avatar: target.value });
  tile.removeAttribute("aria-busy");
});
find("engine").addEventListener("change", (event) => change({ engine: event.target.value }));
find("background").addEventListener("change", (event) => {
  const colour = event.target.value === "colour";
  find("background-colour").hidden = !colour;
  change({ background: colour ? find("background-colour").value : event.target.value });
});
find("background-colour").addEventListener("change", (event) => change({ background: event.target.value }));
for (const field of SLIDERS) {
  find(field).addEventListener("input", () => {
    drawSlider(find(field));
    change({ [field]: find(field).valueAsNumber });
  });
}

setUpUpload((next) => {
  say("");
  draw(next);
});

const calibration = setUpCalibration({
  peer,
  mine,
  /** The avatar's sound would be heard by the microphone. */
  hush: (on) => {
    video.muted = on || !soundWanted;
    drawSound();
  },
  /** Only one program can have a camera: the engine gives its own away for so long. Tells whether it did. */
  lendCamera: async () => {
    if (!state?.camera || mine.video || !state.own_head.engine_camera) return false;
    await changes.push({ camera: false });
    return true;
  },
  returnCamera: () => change({ camera: true, peer: peer.id }),
  onChange: () => refresh().catch((error) => say(error.message)),
});

// --- recording -----------------------------------------------------------------------------------------------------

find("record").addEventListener("click", async () => {
  const button = find("record");
  const on = !state?.recording;
  button.disabled = true;
  try {
    const answer = await request("POST", "api/record", { json: { on } });
    if (state) state.recording = answer.recording;
    if (!on && answer.url) offerFile(answer.url);
    if (on) find("download").hidden = true;
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
  button.focus();
  drawRecording();
});

function offerFile(url) {
  const link = find("download");
  const name = decodeURIComponent(url.split("/").pop());
  link.href = url.replace(/^\//, ""); // the page may live below a session
  link.download = name;
  link.textContent = "Save recording";
  link.title = name;
  link.hidden = false;
}

function drawRecording() {
  const on = Boolean(state?.recording);
  if (on && !recordingSince) recordingSince = performance.now();
  if (!on) recordingSince = 0;
  press(find("record"), on);
  find("record-label").textContent = on ? `Stop ${clock((performance.now() - recordingSince) / 1000)}` : "Record";
}

// --- meters --------------------------------------------------------------------------------------------------------

async function measure() {
  if (recordingSince) drawRecording();
  const connection = peer.connection;
  const received = connection ? await stats.read(connection) : null;
  if (received) peer.progress(received.frames);
  const fps = received?.fps ?? null;
  const skew = received?.skew ?? null;
  const latency = engineMeters?.engine_ms?.p95 ?? null;
  const left = received ? received.dropped + (engineMeters?.shed ?? 0) + (engineMeters?.dropped?.frames ?? 0) : null;
  meter("m-fps", fps, { digits: 1, warn: fps !== null && fps < 25 });
  meter("m-engine", latency, { digits: 1, warn: latency > 30 });
  meter("m-skew", skew, { warn: skew !== null && (skew > 40 || skew < -60) });
  meter("m-rtt", received?.roundTrip ?? null, { digits: 1 });
  meter("m-lost", left);
}

// --- life of the page ----------------------------------------------------------------------------------------------

function start() {
  status("wait", "Connecting …");
  events.open();
  peer.open();
}

addEventListener("pagehide", () => {
  events.close();
  peer.close();
});
addEventListener("pageshow", (event) => {
  if (event.persisted) start();
});
addEventListener("online", () => {
  events.open();
  if (!peer.connected) peer.open();
});

if (window.RTCPeerConnection) {
  find("poster").hidden = false;
  start();
  setInterval(measure, 1000);
} else {
  status("off", "This browser has no WebRTC. Use a current Chrome, Edge, Firefox or Safari.");
}
