/** The page's controls, drawn from the engine's state. Nothing here talks to the engine. */

const find = (id) => document.getElementById(id);

const EMOTIONS = {
  neutral: "Neutral",
  happiness: "Happy",
  sadness: "Sad",
  anger: "Angry",
  fear: "Afraid",
  disgust: "Disgusted",
  surprise: "Surprised",
};

/** An element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Rebuild a list only where it changed, so that focus stays where it is. */
function refill(container, key, build) {
  const text = JSON.stringify(key);
  if (container.dataset.key === text) return;
  const focused = container.contains(document.activeElement) ? document.activeElement.value : null;
  container.dataset.key = text;
  container.replaceChildren(...build());
  if (focused !== null) container.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus();
}

function choose(container, value) {
  for (const input of container.querySelectorAll("input")) input.checked = input.value === value;
}

export function drawAvatars(avatars, current) {
  const container = find("avatars");
  refill(container, avatars, () =>
    avatars.map(({ name, title }) => {
      const picture = make("img", { src: `api/avatars/${encodeURIComponent(name)}/thumb.jpg`, alt: "", width: 76, height: 76, decoding: "async" });
      return make(
        "label",
        { className: "face" },
        make("input", { className: "hidden", type: "radio", name: "avatar", value: name }),
        make("span", { className: "tile" }, picture),
        make("span", { className: "name", textContent: title }),
      );
    }),
  );
  choose(container, current);
}

/** The emotions' names around their plane, each at its angle; neutral where it is calm. */
export function drawEmotions(labels, current, angles) {
  const container = find("emotions");
  refill(container, labels, () =>
    labels.map((label) => {
      const turn = ((angles[label] ?? 310) * Math.PI) / 180;
      const made = make(
        "label",
        { className: "emotion" },
        make("input", { className: "hidden", type: "radio", name: "emotion", value: label }),
        make("span", { className: "tile", textContent: EMOTIONS[label] ?? label }),
      );
      made.style.setProperty("--x", Math.cos(turn).toFixed(4));
      made.style.setProperty("--y", Math.sin(turn).toFixed(4));
      return made;
    }),
  );
  choose(container, current);
}

export function drawEngines(engines, current) {
  find("engine-row").hidden = engines.length < 2;
  const select = find("engine");
  if (select.dataset.key !== JSON.stringify(engines)) {
    select.dataset.key = JSON.stringify(engines);
    select.replaceChildren(...engines.map((name) => make("option", { value: name, textContent: name })));
  }
  select.value = current;
}

const BACKGROUNDS = { keep: "As in the photo", blur: "Blurred", green: "Green screen", alpha: "Transparent", colour: "Colour" };
const COLOUR = /^#[0-9a-f]{6}$/i;

/** `current` is one of `backgrounds`, or a colour. */
export function drawBackgrounds(backgrounds, current) {
  const select = find("background");
  const names = [...backgrounds.filter((name) => !COLOUR.test(name)), "colour"];
  if (select.dataset.key !== JSON.stringify(names)) {
    select.dataset.key = JSON.stringify(names);
    select.replaceChildren(...names.map((name) => make("option", { value: name, textContent: BACKGROUNDS[name] ?? "Picture" })));
  }
  const colour = COLOUR.test(current);
  select.value = colour ? "colour" : current;
  if (colour) find("background-colour").value = current.toLowerCase();
  find("background-colour").hidden = !colour;
}

/** Set a slider and the figure beside it. Without a value: only the figure, from where the slider is. */
export function drawSlider(input, value = input.valueAsNumber) {
  if (input.valueAsNumber !== value) input.value = value;
  const part = (input.valueAsNumber - input.min) / (input.max - input.min);
  input.style.setProperty("--fill", `${100 * part}%`);
  const text = `${Math.round(100 * input.valueAsNumber)} %`;
  input.setAttribute("aria-valuetext", text);
  input.parentElement.querySelector("output").textContent = text;
}

export function press(button, on) {
  button.setAttribute("aria-pressed", String(Boolean(on)));
}

/** One line below the buttons; an empty text clears it. */
export function say(text, kind = "error") {
  const note = find("note");
  note.dataset.kind = kind;
  if (note.textContent !== text) note.textContent = text;
}

export function status(kind, text) {
  const line = find("status");
  line.dataset.kind = kind;
  if (line.textContent !== text) line.textContent = text;
}

/** Put a figure on a meter; null shows a dash. */
export function meter(id, value, { digits = 0, warn = false } = {}) {
  const figure = find(id);
  // A minus sign of its own width; "-0" would only puzzle.
  const text = value === null || !Number.isFinite(value) ? "–" : value.toFixed(digits).replace(/^-0(\.0*)?$/, "0").replace("-", "−");
  if (figure.textContent !== text) figure.textContent = text;
  figure.closest("div").dataset.warn = String(warn);
}

/** Seconds as m:ss. */
export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
