/** The plane of emotions: the angle says which, the distance from the middle how much. */

import { drawEmotions, drawSlider, make } from "./controls.js";

const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const MODES = { auto: "Auto", mirror: "Mirror", fixed: "Fixed", off: "Off" };
const TITLES = {
  auto: "The face feels what the voice sounds like",
  mirror: "The face feels what the camera sees you feel",
  fixed: "The face holds the emotion of the point",
  off: "The face shows no emotion",
};
const HINTS = {
  auto: "Drag the point to lean towards a mood.",
  mirror: "Drag the point to lean towards a mood.",
  fixed: "Drag the point: outwards is stronger.",
  off: "Drag the point to hold an emotion.",
};
/** Art. 50(3) of the EU's AI Act: who is exposed to emotion recognition is told so. */
const NOTICES = {
  auto: "Emotion recognition is on: how the voice sounds is read as an emotion, by the engine itself. Nothing of it is kept.",
  mirror: "Emotion recognition is on: the expression in the camera's picture is read as an emotion, by the engine itself. Nothing of it is kept.",
};
const TRAIL = 24;
const STEP = { angle: 5, radius: 0.05 };

const radians = (degrees) => (degrees * Math.PI) / 180;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const shape = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
/** A point of the plane on the drawing, whose disc has the radius 100. */
const spot = ({ angle, radius }) => [100 * radius * Math.cos(radians(angle)), -100 * radius * Math.sin(radians(angle))];

/**
 * The section "Expression": modes, plane and labels.
 *
 * `change(fields)` sends a change to the engine; `holds(field)` says whether one is under way.
 */
export class EmotionPlane {
  #point = { angle: 0, radius: 0 };
  #mode = "off";
  #state = null;
  #trail = [];
  #dragging = false;

  constructor(change, holds) {
    this.change = change;
    this.holds = holds;
    this.disc = find("disc");
    this.handle = find("point");
    for (const radius of [100, 66, 33]) this.disc.append(shape("circle", { class: "ring", r: radius }));
    this.spokes = this.disc.appendChild(shape("g", {}));
    this.trail = this.disc.appendChild(shape("polyline", { class: "trail" }));
    this.heard = this.disc.appendChild(shape("circle", { class: "heard", r: 6 }));
    find("modes").addEventListener("change", ({ target }) => this.change({ emotion: { mode: target.value } }));
    find("emotions").addEventListener("change", ({ target }) => this.#choose(target.value));
    find("intensity").addEventListener("input", () => this.#slide());
    this.disc.addEventListener("pointerdown", (event) => this.#grab(event));
    this.handle.addEventListener("pointerdown", (event) => this.#grab(event));
    this.handle.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show what holds. */
  draw(state) {
    this.#state = state;
    this.plane = state.plane;
    this.#drawModes(state.modes);
    if (!this.spokes.childElementCount) {
      for (const angle of Object.values(state.plane)) {
        const [x, y] = spot({ angle, radius: 1 });
        this.spokes.append(shape("line", { class: "ring", x2: x.toFixed(1), y2: y.toFixed(1) }));
      }
    }
    if (this.#dragging || this.holds("emotion") || this.holds("mood") || this.holds("strength")) return;
    this.#mode = state.emotion.mode;
    for (const input of find("modes").querySelectorAll("input")) input.checked = input.value === this.#mode;
    const leans = this.#leans();
    this.disc.dataset.live = String(leans);
    this.#point = { ...(leans ? state.mood : state.emotion) };
    drawEmotions(state.emotions, this.#mode === "off" ? "neutral" : this.#point.label, state.plane);
    this.#drawPoint();
    const level = leans ? state.strength : this.#point.radius;
    const idle = !leans && (this.#mode === "off" || this.#point.radius === 0);
    drawSlider(find("intensity"), idle ? undefined : level);
    find("intensity").disabled = idle;
    find("intensity-label").textContent = leans ? "Heard emotion" : "Intensity";
    if (this.#mode === "mirror") find("intensity-label").textContent = "Seen emotion";
    find("plane-hint").textContent = HINTS[this.#mode];
    this.#notify(state);
  }

  /** Show what the face feels at this moment: where the point of the plane is, and was. */
  felt(felt) {
    if (!this.#leans() || !felt) {
      this.#trail = [];
      return;
    }
    this.#trail.push(spot(felt));
    if (this.#trail.length > TRAIL) this.#trail.shift();
    const [x, y] = this.#trail.at(-1);
    this.heard.setAttribute("cx", x.toFixed(1));
    this.heard.setAttribute("cy", y.toFixed(1));
    this.trail.setAttribute("points", this.#trail.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" "));
  }

  /** In these modes the point is a mood that is added to what is found. */
  #leans() {
    return this.#mode === "auto" || this.#mode === "mirror";
  }

  #drawModes(modes) {
    const container = find("modes");
    if (container.dataset.key === String(modes)) return;
    container.dataset.key = String(modes);
    container.replaceChildren(
      ...modes.map((mode) =>
        make(
          "label",
          { className: "mode", title: TITLES[mode] },
          make("input", { className: "hidden", type: "radio", name: "mode", value: mode }),
          make("span", { className: "tile", textContent: MODES[mode] }),
        ),
      ),
    );
  }

  #notify({ camera }) {
    const note = find("emotion-note");
    let text = NOTICES[this.#mode] ?? "";
    if (this.#mode === "mirror" && !camera) text = `${text} The camera is off: press My camera.`;
    if (note.textContent !== text) note.textContent = text;
    note.hidden = !text;
  }

  #drawPoint() {
    const { angle, radius } = this.#point;
    this.handle.style.setProperty("--x", (radius * Math.cos(radians(angle))).toFixed(4));
    this.handle.style.setProperty("--y", (radius * Math.sin(radians(angle))).toFixed(4));
    this.handle.dataset.mode = this.#mode;
    const percent = Math.round(100 * radius);
    this.handle.setAttribute("aria-label", this.#leans() ? "Mood" : "Emotion");
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", percent ? `${this.#named(angle)}, ${percent} %` : "Neutral");
  }

  /** The emotions that an angle lies between, as the labels call them. */
  #named(angle) {
    const away = (label) => Math.abs(((this.plane[label] - angle + 540) % 360) - 180);
    const near = Object.keys(this.plane).sort((a, b) => away(a) - away(b));
    const name = (label) => find("emotions").querySelector(`input[value=${label}]`)?.nextSibling.textContent ?? label;
    return away(near[0]) < 12 ? name(near[0]) : `${name(near[0])} and ${name(near[1]).toLowerCase()}`;
  }

  /** Move the point and tell the engine. */
  #move(angle, radius) {
    this.#point = { angle: (angle + 360) % 360, radius: clamp(radius, 0, 1) };
    this.#drawPoint();
    const { angle: a, radius: r } = this.#point;
    const value = { angle: Math.round(10 * a) / 10, radius: Math.round(100 * r) / 100 };
    if (this.#mode === "off") this.#mode = "fixed";
    return this.change(this.#leans() ? { mood: value } : { emotion: value });
  }

  #choose(label) {
    if (label === "neutral") return this.#move(this.#point.angle, 0);
    const usual = this.#leans() ? 0.2 : 0.7;
    return this.#move(this.plane[label], this.#point.radius || usual);
  }

  #slide() {
    const slider = find("intensity");
    drawSlider(slider);
    if (this.#leans()) this.change({ strength: slider.valueAsNumber });
    else this.#move(this.#point.angle, slider.valueAsNumber);
  }

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.handle.focus({ preventScroll: true });
    this.handle.setPointerCapture(event.pointerId);
    this.#dragging = true;
    let sent;
    const follow = (at) => {
      const box = this.disc.getBoundingClientRect();
      const scale = (this.disc.viewBox.baseVal.width / box.width) * 0.01;
      const x = (at.clientX - box.left - box.width / 2) * scale;
      const y = (box.top + box.height / 2 - at.clientY) * scale;
      const radius = Math.hypot(x, y);
      // The middle is easier to hit than a radius of nothing.
      sent = this.#move((Math.atan2(y, x) * 180) / Math.PI, radius < 0.06 ? 0 : radius);
    };
    const done = async () => {
      this.handle.removeEventListener("pointermove", follow);
      await sent;
      this.#dragging = false;
      this.draw(this.#state);
    };
    this.handle.addEventListener("pointermove", follow);
    this.handle.addEventListener("lostpointercapture", done, { once: true });
    follow(event);
  }

  #key(event) {
    const { angle, radius } = this.#point;
    const moves = {
      ArrowLeft: [angle + STEP.angle, radius],
      ArrowRight: [angle - STEP.angle, radius],
      ArrowUp: [angle, radius + STEP.radius],
      ArrowDown: [angle, radius - STEP.radius],
      Home: [angle, 0],
      End: [angle, 1],
    };
    const to = moves[event.key];
    if (!to || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#move(...to);
  }
}
