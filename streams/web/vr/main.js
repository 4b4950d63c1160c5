/** The page: who sits where, where their states come from, and the way into a headset.
 *
 * Without anything in its address it shows one head, moved by the engine that serves the page. `?left=ws://…&right=ws://…`
 * seats two across a table, each moved by the parameter output of an engine. `detail=low|high` chooses what is drawn. */

import { Call, SocketFeed } from "./feeds.js";
import { Person } from "./person.js";
import { Playout } from "./playout.js";
import { APART, SEAT_HEIGHT, room } from "./room.js";
import { ACESFilmicToneMapping, GLTFLoader, Group, OrbitControls, PCFShadowMap, PerspectiveCamera, WebGLRenderer } from "./three.js";
import { Voice } from "./voice.js";

const CLOTHES = [0x2f4a5c, 0x6b3a34];
/** Pixels beyond which a screen's finer grid is not drawn. */
const SHARPEST = 2;
/** Metres from the floor to the eyes of somebody who sits here. */
const EYES = SEAT_HEIGHT + 0.06;
const find = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);

function say(text, kind = "wait") {
  find("status").textContent = text;
  find("status").dataset.kind = kind;
}

/** The addresses of the states: one or two. Throws with a line for the user. */
function addresses() {
  const here = new URL("/api/states", location.href.replace(/^http/, "ws")).href;
  const named = ["left", "right"].filter((side) => asked.has(side)).map((side) => asked.get(side));
  if (!named.length) return [here];
  return named.map((address) => {
    if (address === "here") return here;
    if (!/^wss?:\/\/[^/]+/.test(address)) throw new Error(`${address}: an address of states begins with ws:// or wss://`);
    return address;
  });
}

/** Whether there is no graphics processor: then less is drawn, so that it still moves. */
function drawnByProcessor() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const found = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(gl?.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER) ?? "");
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return found;
}

let sources;
try {
  sources = addresses();
} catch (error) {
  say(error.message, "off");
  throw error;
}
const two = sources.length > 1;
const plain = asked.has("detail") ? asked.get("detail") === "low" : drawnByProcessor();
const renderer = new WebGLRenderer({ canvas: find("room"), antialias: !plain && devicePixelRatio < 2 });
renderer.toneMapping = ACESFilmicToneMapping;
renderer.toneMappingExposure = 1.12;
renderer.shadowMap.enabled = !plain;
renderer.shadowMap.type = PCFShadowMap;
renderer.setPixelRatio(plain ? 1 : Math.min(devicePixelRatio, SHARPEST));

const scene = room(renderer, two, plain);
const camera = new PerspectiveCamera(30, 1, 0.05, 30);
/** What carries the viewer; a headset moves the camera within it. */
const viewer = new Group();
viewer.add(camera);
scene.add(viewer);
const orbit = new OrbitControls(camera, renderer.domElement);
orbit.enableDamping = true;
orbit.minDistance = 0.35;
orbit.maxDistance = 3;
orbit.maxPolarAngle = 1.9;
orbit.listenToKeyEvents(renderer.domElement);

/** Everybody in the room: { person, playout, feed }. */
export const people = [];
let voice = null;
let call = null;
let seat = 0;

/** How far back the camera must stand for a part of the room of this size, in metres. */
function distance(width, height) {
  const half = Math.tan((camera.fov * Math.PI) / 360);
  return Math.max(height / 2 / half, width / 2 / half / camera.aspect);
}

/** The three places from which to watch: beside the table, and from either chair. */
function sit(number) {
  seat = number % (two ? 3 : 1);
  if (seat === 0) {
    orbit.target.set(0, two ? EYES - 0.11 : EYES - 0.035, 0);
    camera.position.set(two ? 0.25 : 0.1, EYES + (two ? 0.12 : 0.02), distance(two ? 1.5 : 0.42, two ? 0.72 : 0.46));
  } else {
    const side = seat === 1 ? -1 : 1;
    orbit.target.set(-side * APART, EYES - 0.04, 0);
    camera.position.set(side * 0.34, EYES, 0.05);
  }
  orbit.update();
}

/** Who is at the viewer's own chair is not drawn. */
function showOthers() {
  const inside = renderer.xr.isPresenting || seat > 0;
  people.forEach(({ person }, i) => (person.place.visible = !(two && inside && i === Math.max(1, seat) - 1)));
}

function resize() {
  const { clientWidth, clientHeight } = renderer.domElement;
  renderer.setSize(clientWidth, clientHeight, false);
  camera.aspect = clientWidth / Math.max(1, clientHeight);
  camera.updateProjectionMatrix();
}

function frame(now) {
  let live = 0;
  for (const { person, playout } of people) {
    if (call && person === people[0].person) playout.lag = call.lag + 1000 * (voice?.latency ?? 0);
    person.show(playout.at(performance.now()));
    live += playout.fresh;
  }
  if (people.length) tell(live);
  voice?.move(people[0].person.head, camera);
  if (!renderer.xr.isPresenting) orbit.update();
  renderer.render(scene, camera);
}

let told = "";
function tell(live) {
  const all = live === people.length;
  const text = all ? "Live" : live ? "One of two sends no states" : "No states arrive: is the engine running, with its output parameters?";
  if (text !== told) say(text, all ? "live" : "wait");
  told = text;
}

// --- sound ---------------------------------------------------------------------------------------------------------

async function toggleSound() {
  const { feed, playout } = people[0];
  if (voice) {
    voice.close();
    call.close();
    voice = call = null;
    playout.lag = 0;
    people[0].feed = new SocketFeed(sources[0], (state, now) => playout.push(state, now));
  } else {
    call = new Call();
    try {
      voice = new Voice(await call.open((state, now) => playout.push(state, now)));
      feed.close();
    } catch (error) {
      call.close();
      call = null;
      say(error.message, "off");
      return;
    }
  }
  find("sound").setAttribute("aria-pressed", String(voice !== null));
}

// --- the headset ---------------------------------------------------------------------------------------------------

async function offerHeadset() {
  if (!(await navigator.xr?.isSessionSupported("immersive-vr").catch(() => false))) return;
  find("enter").hidden = false;
  find("enter").addEventListener("click", async () => {
    const session = renderer.xr.getSession();
    if (session) return session.end();
    let opened = null;
    try {
      opened = await navigator.xr.requestSession("immersive-vr", { optionalFeatures: ["local-floor"] });
      // Without a floor of its own the headset counts from the eyes, wherever they were when it was opened.
      const floor = await opened.requestReferenceSpace("local-floor").then(() => true, () => false);
      renderer.xr.setReferenceSpaceType(floor ? "local-floor" : "local");
      renderer.xr.enabled = true;
      await renderer.xr.setSession(opened);
      // After three's own listener, which gives the screen its size back.
      opened.addEventListener("end", left);
      entered(floor ? 0 : EYES);
    } catch (error) {
      renderer.xr.enabled = false;
      await opened?.end().catch(() => {});
      say(`The headset does not open: ${error.message}`, "off");
    }
  });
}

/** @param {number} height of the headset's origin above the room's floor, in metres. */
function entered(height) {
  find("enter").textContent = "Leave VR";
  // In the chair, or in front of the one who speaks.
  const side = seat === 2 ? 1 : -1;
  viewer.position.set(two ? side * APART : 0, height, two ? 0 : 0.95);
  viewer.rotation.y = two ? (side * Math.PI) / 2 : 0;
  showOthers();
}

function left() {
  renderer.xr.enabled = false;
  find("enter").textContent = "Enter VR";
  viewer.position.set(0, 0, 0);
  viewer.rotation.y = 0;
  resize();
  sit(seat);
  showOthers();
}

// --- begin ---------------------------------------------------------------------------------------------------------

async function load() {
  const loader = new GLTFLoader();
  // A folder with saved heads may have the fine ones only.
  const fetched = (name) => loader.loadAsync(`${name}.glb`);
  const head = (name) => (plain ? fetched(`${name}-low`).catch(() => fetched(name)) : fetched(name));
  const files = await Promise.all(sources.map((_, i) => head(`head-${i + 1}`)));
  files.forEach(({ scene: found }, i) => {
    const person = new Person(found, CLOTHES[i], plain);
    person.place.position.set(two ? (i ? APART : -APART) : 0, SEAT_HEIGHT, 0);
    person.place.rotation.y = two ? (i ? -1 : 1) * (Math.PI / 2) : 0;
    scene.add(person.place);
    const playout = new Playout();
    people.push({ person, playout, feed: new SocketFeed(sources[i], (state, now) => playout.push(state, now)) });
  });
}

addEventListener("resize", () => !renderer.xr.isPresenting && resize());
resize();
sit(0);
load().then(
  () => {
    find("seat").hidden = !two;
    find("sound").hidden = two || asked.has("left") || asked.has("right");
    document.body.dataset.ready = "true";
  },
  (error) => say(`The heads cannot be loaded: ${error.message}`, "off"),
);
find("seat").addEventListener("click", () => (sit(seat + 1), showOthers()));
find("sound").addEventListener("click", toggleSound);
offerHeadset();
renderer.setAnimationLoop(frame);
export { camera, orbit, renderer, scene };
